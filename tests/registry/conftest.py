from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.registry import store
from lipsync_cli.registry.entries import read_registry


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A temporary installation whose registry knows `small` (content: b"abc") and `own`; both absent."""
    places = {name: tmp_path / name for name in ("environment", "cache/lipsync", "shipped")}
    for folder in places.values():
        folder.mkdir(parents=True)
    (places["shipped"] / "registry.toml").write_text(
        '[sets.default]\nlip_reader = "small"\n'
        '[weights.small]\nfile = "small.bin"\nbytes = 3\nlicence = "CC0-1.0"\narchitecture = "x"\n'
        'roles = ["lip_reader"]\n'
        'sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"\n'
        '[weights.own]\nfile = "own.bin"\nbytes = 3\nlicence = "unknown"\narchitecture = "y"\n'
        'roles = ["judge"]\nsha256 = "00"\nurl = "https://example.org/own.bin"\nshipped = false\n'
    )
    read_registry.cache_clear()
    monkeypatch.setattr(store, "weights_folder", lambda: places["shipped"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(places["environment"]))
    return places
