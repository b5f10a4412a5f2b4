"""Networks of a dub are loaded beside its first pass, and what is wrong with them is told all the same."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lipsync_cli import assembly, assembly_networks
from lipsync_cli.assembly_networks import load_networks, networks_beside
from lipsync_cli.dubbing.job import DubJob, DubSettings, NetworkUsed
from lipsync_cli.errors import WeightsError
from lipsync_cli.interfaces import Waveform
from lipsync_cli.media.reader import VideoReader


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


def test_sounds_are_heard_and_let_go_before_they_are_asked_for(weights_folder: Path, tmp_path: Path) -> None:
    n, used = 16_123, list[NetworkUsed]()
    sound, portrait = tmp_path / "speech.wav", weights_folder / "demo" / "portrait.jpg"
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, n), 16_000)
    job = DubJob(portrait, sound, tmp_path / "out.mp4", DubSettings(pauses="loudness"))

    def n_held() -> int:
        return sum(type(thing) is Waveform and len(thing.samples) == n for thing in gc.get_objects())

    with networks_beside(job.settings) as networks, ExitStack() as stack:
        parts = assembly._make_parts(VideoReader(portrait), job, networks, used, stack)
        assert parts.speakers[0].duration == pytest.approx(n / 16_000)
        networks.drawing()
        end = time.monotonic() + 60
        while n_held() and time.monotonic() < end:
            time.sleep(0.01)
        assert n_held() == 0
        assert not used, "networks are told of in one order, whenever they were done"
        assert parts.drawing().speeches[0].around([0.5]).shape == (1, 40, 384)
        assert [network.role for network in used] == ["speech_embedding"]


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
