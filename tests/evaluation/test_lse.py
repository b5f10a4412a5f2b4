from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lipsync_cli.errors import DataError, FaceError, MediaError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.lse import longest_stretch, measure_lse
from lipsync_cli.evaluation.run import compare_pair
from lipsync_cli.evaluation.watch import Watched, watch
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.metrics.sync import Lse
from lipsync_cli.speech.mfcc import mfcc

N = 110


class Listening:
    """Stands for SyncNet v2: how dark the pictures and how loud the sound of a window are."""

    def __init__(self) -> None:
        self.shapes: set[tuple[int, ...]] = set()
        self.brightest = 0.0

    def embed_lips(self, frames: Tensor) -> Tensor:
        self.shapes.add(tuple(frames.shape[1:]))
        self.brightest = max(self.brightest, float(frames.max()))
        middle = frames[:, :, :, 60:200, 70:160]
        return _curve((middle < 60).float().mean(dim=(1, 2, 3, 4)) * 12.7)

    def embed_speech(self, mfcc: Tensor) -> Tensor:
        self.shapes.add(tuple(mfcc.shape[1:]))
        return _curve((mfcc[:, 0, 0].mean(dim=1) - 12.3) / 9.2)


def _curve(value: Tensor) -> Tensor:
    return torch.stack([value, value.square(), torch.sin(3 * value)], dim=1)


def _film(world: Any, name: str, late: int = 0, n: int = N, **options: Any) -> Any:
    words = world.loudness(n + 20)
    return world.film(
        name, words[10 : 10 + n], sound=world.sound_of(words[10 - late : 10 - late + n]), **options
    )


def _seen(world: Any, video: Any) -> Watched:
    return watch(VideoReader(video), world.faces, world.faces)


@pytest.mark.parametrize("protocol", ["lrs", "tracks"])
@pytest.mark.parametrize("late", [0, 4])
def test_both_protocols_show_the_network_what_it_expects(world: Any, protocol: Any, late: int) -> None:
    video, network = _film(world, "video", late), Listening()
    result = measure_lse(video, network, protocol, _seen(world, video))
    assert network.shapes == {(3, 5, 224, 224), (1, 13, 20)}
    assert 200 < network.brightest <= 255
    assert abs(result.offset - late) <= 1  # the zeros past the ends draw it in
    assert result.confidence > 0


def test_whole_frames_are_paired_with_the_sound_of_their_own_time(world: Any) -> None:
    """The same figures as window by window, by frame number, as the public script has it."""
    video = _film(world, "video")
    cepstra = mfcc(load_waveform(video)).T.astype(np.float32)
    network, metric = Listening(), Lse()
    frames = np.stack([cv2.resize(frame.image, (224, 224))[..., ::-1] for frame in VideoReader(video)])
    for first in range(min(len(frames) - 4, (cepstra.shape[1] - 20) // 4 + 1)):
        lips = torch.from_numpy(frames[first : first + 5].transpose(3, 0, 1, 2)[None].astype(np.float32))
        heard = torch.from_numpy(cepstra[None, None, :, 4 * first : 4 * first + 20])
        metric.update(network.embed_lips(lips).double().numpy(), network.embed_speech(heard).double().numpy())
    result = measure_lse(video, Listening(), "lrs")
    assert result.distance == pytest.approx(metric.distance(), abs=1e-4)
    assert result.confidence == pytest.approx(metric.confidence(), abs=1e-4)


def test_tracks_take_the_longest_stretch_of_one_face_and_ask_for_100_frames(world: Any) -> None:
    whole = _film(world, "whole", n=125, hidden=range(20))
    assert measure_lse(whole, Listening(), "tracks", _seen(world, whole)).offset == 0
    broken = _film(world, "broken", n=125, hidden=range(60, 64))
    with pytest.raises(FaceError, match=r"broken\.mp4.*100 frames"):
        measure_lse(broken, Listening(), "tracks", _seen(world, broken))


def _track(present: list[int], starts: list[int]) -> FaceTrack:
    n = len(present)
    return FaceTrack(
        times=np.arange(n) / 25,
        boxes=np.zeros((n, 5), np.float32),
        present=np.array(present, dtype=np.bool_),
        openings=np.zeros(n, np.float32),
        yaws=np.zeros(n, np.float32),
        outlines=np.zeros((n, 4, 2), np.float32),
        shot_starts=np.array([index in starts for index in range(n)]),
    )


@pytest.mark.parametrize(
    ("present", "starts", "expected"),
    [
        ([1, 1, 1], [0], slice(0, 3)),
        ([1, 0, 1, 1, 0], [0], slice(2, 4)),
        ([1, 1, 1, 1, 1], [0, 2], slice(2, 5)),
        ([0, 0], [0], slice(0, 0)),
        ([0, 1, 1], [0, 1], slice(1, 3)),
    ],
)
def test_a_stretch_ends_with_its_shot_or_its_face(
    present: list[int], starts: list[int], expected: slice
) -> None:
    assert longest_stretch(_track(present, starts)) == expected


def test_too_short_and_soundless_videos_are_refused(world: Any) -> None:
    with pytest.raises(DataError, match=r"short\.mp4.*15 frames"):
        measure_lse(_film(world, "short", n=13), Listening(), "lrs")
    with pytest.raises(MediaError, match="no sound"):
        measure_lse(world.film("mute", world.loudness(30)), Listening(), "lrs")


def test_lse_is_a_column_of_a_comparison_only_with_the_network(world: Any) -> None:
    real, late = _film(world, "real"), _film(world, "late", 6)
    with_it = compare_pair(real, late, Instruments(world.faces, world.faces, lse=Listening()))
    without = compare_pair(real, late, Instruments(world.faces, world.faces))
    alone = measure_lse(late, Listening(), "lrs")
    assert with_it.figures["lse_d"] == pytest.approx(alone.distance)
    assert with_it.figures["lse_c"] == pytest.approx(alone.confidence)
    assert {"real_lse_c", "real_lse_d"} <= set(with_it.figures)
    assert "lse_d" not in without.figures


def test_lse_of_silent_sound_is_left_out_with_its_reason(world: Any) -> None:
    levels = world.loudness(60)
    real = world.film("real", levels, sound=world.sound_of(levels))
    silent = world.film("silent", levels, sound=np.zeros(60 * 640, np.float32))
    result = compare_pair(real, silent, Instruments(world.faces, world.faces, lse=Listening()))
    assert "silent" in result.left_out["lse"]
    assert "real_lse_c" in result.figures
