"""Networks of a dub are loaded beside its first pass, and what is wrong with them is told all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lipsync_cli import assembly, assembly_networks
from lipsync_cli.assembly_networks import load_networks, networks_beside
from lipsync_cli.dubbing.job import DubJob, DubSettings
from lipsync_cli.errors import WeightsError


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Held:
    """Loads generators only when it is allowed to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = threading.Event()
        self._load = assembly_networks.load_generators
        monkeypatch.setattr(assembly_networks, "load_generators", self)

    def __call__(self, *arguments: Any) -> Any:
        assert self.allowed.wait(60)
        return self._load(*arguments)


def test_the_default_networks_are_loaded_while_other_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    with networks_beside(DubSettings()) as networks:
        assert {network.role for network in networks.used} == {
            "silent_lip",
            "talking_face",
            "face_detector",
            "face_landmarks",
        }
        held.allowed.set()
        loaded = networks.drawing()
    assert networks.drawing() is loaded
    assert loaded.generators[1].hears == "speech_embedding_wide"
    assert load_networks(DubSettings()).drawing().execution == loaded.execution


@pytest.mark.parametrize("settings", [{"device": "cuda"}, {"model": "own.safetensors"}])
def test_what_may_fail_is_loaded_before_other_work_begins(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.safetensors").write_bytes(b"no weights at all")

    def fail(*arguments: object) -> None:
        raise WeightsError("cannot be loaded")

    monkeypatch.setattr(assembly_networks, "_load_drawing", fail)
    began = False
    with pytest.raises(WeightsError, match="cannot be loaded"), networks_beside(DubSettings(**settings)):
        began = True
    assert not began


def test_what_fails_beside_the_first_pass_ends_the_dub_and_leaves_nothing(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise WeightsError("cannot be loaded")

    monkeypatch.setattr(assembly_networks, "load_generators", fail)
    sound = tmp_path / "speech.wav"
    soundfile.write(sound, [0.1, -0.1] * 4000, 16_000)
    output = tmp_path / "results" / "out.mp4"
    output.parent.mkdir()
    with pytest.raises(WeightsError, match="cannot be loaded"):
        assembly.dub(DubJob(weights_folder / "demo" / "portrait.jpg", sound, output))
    assert not list(output.parent.iterdir())
