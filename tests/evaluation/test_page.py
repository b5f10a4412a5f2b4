from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.folders import Pair, measure_pair
from lipsync_cli.evaluation.page import write_page
from lipsync_cli.evaluation.results import LeftOut, collect, compare
from lipsync_cli.media.probe import probe_audio, probe_video
from lipsync_cli.media.reader import VideoReader


def test_the_page_stands_alone_with_plots_and_playable_videos(world: Any, tmp_path: Path) -> None:
    levels = world.loudness(30)
    sound = world.sound_of(levels)
    real = world.film("real", levels, sound=sound)
    pairs = [
        Pair("good", real, real),
        Pair("bad <b>", real, world.film("bad", world.loudness(30, seed=5), sound=sound)),
    ]
    instruments = Instruments(world.faces, world.faces, world.scorer)
    outcomes = [measure_pair(pair, instruments) for pair in pairs]
    evaluation = collect([*outcomes, LeftOut("gone", "a reason & more")])
    others = {clip.name: clip.figures for clip in evaluation.clips}
    settings = {"model_sha256": "abc123", "against": "other", "generated": "dubs", "note": "mind <this>"}
    write_page(tmp_path / "page", evaluation, pairs, settings, compare(evaluation, others))
    page = (tmp_path / "page" / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|clips/)', page)
    assert page.count("data:image/png;base64,") == 4
    for text in ("abc123", "a reason &amp; more", "bad &lt;b&gt;", "opencv-python-headless", "Less other"):
        assert text in page
    assert '<p class="note">Note: mind &lt;this&gt;.</p>' in page
    assert "<p>dubs: 2 clips measured, 1 left out." in page
    ssim = f"{evaluation.figures['ssim'].mean:.2f}"
    assert page.count(f"<tr class=own><td>these clips</td><td>{ssim}</td>") == 2  # table 1, LRS2 and LRW
    assert "--syncnet-v2 FILE" in page
    assert "<td>no difference shown</td>" not in page  # texts are on the left
    assert "<td class=t>no difference shown</td>" in page
    assert page.index("Worst clips by opening_correlation") < page.index("bad &lt;b&gt;") < page.index("Best")
    videos = re.findall(r'src="(clips/[^"]+)"', page)
    assert len(videos) == 2
    for video in videos:
        path = tmp_path / "page" / video
        assert probe_video(path).width == 320
        assert probe_audio(path).duration > 1
    twice = next(iter(VideoReader(tmp_path / "page" / "clips" / "good.mp4"))).image.astype(int)
    assert np.abs(twice[:, :160] - twice[:, 160:]).mean() < 2


def test_a_page_that_cannot_be_written_is_told(world: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    real = world.film("real", world.loudness(20))
    pair = Pair("a", real, real)
    evaluation = collect([measure_pair(pair, Instruments(world.faces, world.faces))])
    with pytest.raises(DataError, match="cannot be written"):
        write_page(tmp_path / "taken", evaluation, [], {}, {})
