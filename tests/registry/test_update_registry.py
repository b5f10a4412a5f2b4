from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "weights" / "scripts" / "update_registry.py"
REGISTRY = """# kept
[weights.first]
file = "first.tflite"
sha256 = ""
bytes = 0

[weights.second]
file = "second.safetensors" # kept too
bytes = 9
sha256 = "aa"
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--folder", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "registry.toml").write_text(REGISTRY)
    (tmp_path / "first.tflite").write_bytes(b"one")
    (tmp_path / "second.safetensors").write_bytes(b"three")
    return tmp_path


def test_sizes_and_hashes_are_written_and_the_rest_is_kept(folder: Path) -> None:
    assert run(folder).returncode == 0
    text = (folder / "registry.toml").read_text()
    weights = tomllib.loads(text)["weights"]
    assert (weights["first"]["bytes"], weights["second"]["bytes"]) == (3, 5)
    assert weights["second"]["sha256"] == hashlib.sha256(b"three").hexdigest()
    assert text.startswith("# kept\n")
    assert "# kept too" in text
    assert run(folder, "--check").returncode == 0


def test_check_writes_nothing_and_fails_when_out_of_date(folder: Path) -> None:
    assert run(folder, "--check").returncode == 1
    assert (folder / "registry.toml").read_text() == REGISTRY


def test_a_file_without_entry_and_an_entry_without_file_are_told_of(folder: Path) -> None:
    (folder / "first.tflite").rename(folder / "third.tflite")
    done = run(folder)
    assert done.returncode == 1
    assert "first.tflite is missing" in done.stderr
    assert "third.tflite has no entry" in done.stderr


def test_the_registry_of_this_checkout_is_up_to_date() -> None:
    done = run(SCRIPT.parents[1], "--check")
    assert (done.returncode, done.stderr) == (0, "")
