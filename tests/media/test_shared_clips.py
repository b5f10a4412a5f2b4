"""Real videos from phones, broadcasters and the web."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader

pytestmark = pytest.mark.shared

SIZES = {
    "lipify_alphabet4.mp4": (1080, 1920, 43),
    "lipify_colors6.mp4": (352, 640, 64),
    "lipify_colors7.mp4": (352, 640, 74),
    "noface_counter.mp4": (1920, 1080, 30),
    "obama_weekly_address.mp4": (450, 450, 500),
    "rd_radio2.mp4": (512, 512, 200),
    "rd_radio34.mp4": (512, 512, 200),
    "wda_bob_menendez.mp4": (512, 512, 200),
    "whitehouse_hamilton.mp4": (640, 360, 275),
}
"""Width and height as shown, number of frames."""


@pytest.mark.parametrize("name", SIZES)
def test_every_clip_is_read_to_its_end(shared_folder: Path, name: str) -> None:
    width, height, n_frames = SIZES[name]
    reader = VideoReader(shared_folder / "data" / "clips" / name)
    assert (reader.info.width, reader.info.height, reader.info.n_frames) == (width, height, n_frames)
    times = []
    for frame in reader:
        assert frame.index == len(times)
        assert frame.image.shape == (height, width, 3)
        times.append(frame.time)
    assert len(times) == n_frames
    assert reader.n_skipped == 0
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] < reader.info.duration < times[-1] + 3 / float(reader.info.rate)
    assert abs((n_frames - 1) / (times[-1] - times[0]) / float(reader.info.rate) - 1) < 0.03


@pytest.mark.parametrize("name", [name for name in SIZES if name != "noface_counter.mp4"])
def test_sound_and_picture_of_every_clip_end_together(shared_folder: Path, name: str) -> None:
    path = shared_folder / "data" / "clips" / name
    waveform = load_waveform(path)
    assert waveform.duration == pytest.approx(VideoReader(path).info.duration, abs=0.1)
    assert np.isfinite(waveform.samples).all()
    assert waveform.samples.std() > 0.001
