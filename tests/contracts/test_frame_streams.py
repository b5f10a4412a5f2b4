"""What every `FrameStream` promises, whatever decodes the video."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import FrameStream, VideoInfo
from lipsync_cli.media.ffmpeg_reader import FfmpegReader
from lipsync_cli.media.reader import VideoReader

Open = Callable[[Path], FrameStream]

STREAMS = [pytest.param(VideoReader, id="pyav"), pytest.param(FfmpegReader, id="ffmpeg")]
"""One line for each implementation."""

N_FRAMES = 20
TIMES = [index / 25 + 0.01 * (index % 3) for index in range(N_FRAMES)]


@pytest.fixture(params=STREAMS)
def open_stream(request: pytest.FixtureRequest) -> Open:
    if request.param is FfmpegReader and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    stream: Open = request.param
    return stream


def encode(path: Path, *, rotation: int = 0, full_range: bool = False) -> Path:
    """Frame i is grey 10 * i, its top left quarter black, at TIMES[i]; 64 x 48 with B-frames."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"crf": "4", "bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 90_000)
        video.codec_context.color_range = 2 if full_range else 1
        if rotation:
            video.set_display_rotation(rotation)
        for index, time in enumerate(TIMES):
            image = np.full((48, 64, 3), 10 * index, np.uint8)
            image[:24, :32] = 0
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format="yuv420p", dst_color_range="JPEG" if full_range else "MPEG"
            )
            frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode(tmp_path / "clip.mp4")


def test_info_tells_what_the_frames_are(open_stream: Open, clip: Path) -> None:
    info = open_stream(clip).info
    assert isinstance(info, VideoInfo)
    assert (info.path, info.width, info.height, info.n_frames, info.codec) == (clip, 64, 48, N_FRAMES, "h264")
    assert isinstance(info.rate, Fraction)
    assert abs(float(info.rate) - 25) < 1.5  # how long the last frame lasts, a file need not say
    assert info.duration == pytest.approx(TIMES[-1], abs=0.08)


def test_frames_are_rgb_bytes_in_rows_numbered_from_zero(open_stream: Open, clip: Path) -> None:
    frames = list(open_stream(clip))
    assert [frame.index for frame in frames] == list(range(N_FRAMES))
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable


def test_frames_come_as_they_are_shown_at_the_times_of_the_file(open_stream: Open, clip: Path) -> None:
    frames = list(open_stream(clip))
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=1.2e-5)
    assert all(later.time > earlier.time for earlier, later in pairwise(frames))
    for frame in frames:
        assert np.abs(frame.image[28:, 36:].astype(int) - 10 * frame.index).max() <= 4
        assert frame.image[:20, :28].max() <= 4


def test_every_iteration_starts_again_and_gives_the_same(open_stream: Open, clip: Path) -> None:
    stream = open_stream(clip)
    first, second = list(stream), list(stream)
    for one, other in zip(first, second, strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        np.testing.assert_array_equal(one.image, other.image)


def test_iterations_do_not_disturb_each_other(open_stream: Open, clip: Path) -> None:
    stream = open_stream(clip)
    ahead = iter(stream)
    for _ in range(7):
        next(ahead)
    assert next(iter(stream)).index == 0
    assert next(ahead).index == 7


def test_an_iteration_may_be_abandoned(open_stream: Open, clip: Path) -> None:
    stream = open_stream(clip)
    for frame in stream:
        if frame.index == 3:
            break
    assert sum(1 for _ in stream) == N_FRAMES


def test_frames_are_not_held_by_the_stream(open_stream: Open, clip: Path) -> None:
    most = 0
    kept = []
    for frame in open_stream(clip):
        kept.append(weakref.ref(frame.image))
        del frame
        most = max(most, sum(reference() is not None for reference in kept))
    assert len(kept) == N_FRAMES
    assert most <= 2


def test_frames_do_not_share_memory(open_stream: Open, clip: Path) -> None:
    frames = list(open_stream(clip))
    frames[4].image[:] = 77
    assert not any(np.shares_memory(frames[4].image, frames[index].image) for index in (0, 3, 5, 19))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied(open_stream: Open, tmp_path: Path, rotation: int) -> None:
    stream = open_stream(encode(tmp_path / "turned.mp4", rotation=rotation))
    frame = list(stream)[-1]
    upright = np.full((48, 64), 190)
    upright[:24, :32] = 0
    expected = np.rot90(upright, rotation // 90)
    assert (stream.info.height, stream.info.width) == expected.shape
    assert np.abs(frame.image.mean(axis=2) - expected).mean() < 6


def test_full_range_is_not_stretched(open_stream: Open, tmp_path: Path) -> None:
    frames = list(open_stream(encode(tmp_path / "full.mp4", full_range=True)))
    means = [frame.image[28:, 36:].mean() for frame in frames]
    np.testing.assert_allclose(means, [10 * index for index in range(N_FRAMES)], atol=2)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("place", "right", "below"), [("left", 0, 0.5), ("center", 0.5, 0.5), ("topleft", 0, 0)]
)
def test_colours_lie_where_the_file_says(
    open_stream: Open, tmp_path: Path, place: str, right: float, below: float, rotation: int
) -> None:
    path = tmp_path / "slope.mp4"
    slope = encode_slope(path, place, right, below, rotation)
    frame = next(iter(open_stream(path)))
    inner = np.s_[8:-8, 8:-8]  # at the border there are no neighbours
    error = frame.image[inner].astype(float) - np.rot90(slope, rotation // 90)[inner]
    assert np.abs(error).mean() < 0.5  # half a pixel is 1.4 grey levels of red
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.3


def encode_slope(path: Path, place: str, right: float, below: float, rotation: int) -> NDArray[np.float64]:
    """Red grows to the right and downwards; returns the colours of all pixels, float [48, 64, 3].

    right, below: pixels between a sample of colour and the first one that has its colour.
    """
    rise = 2  # grey levels of V from one sample to the next
    y, x = np.mgrid[:24, :32]
    with av.open(str(path), "w") as container:
        options = {"qp": "0", "chroma_sample_location": place}
        video: Any = container.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.color_range = 1
        if rotation:
            video.set_display_rotation(rotation)
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane, values in zip(frame.planes, (126, 128, 76 + rise * (x + y)), strict=True):
            stored = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            stored[:, : plane.width] = values
        frame.pts = 0
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    y, x = np.mgrid[:48, :64]
    red_difference = (76 - 128 + rise * ((x - right) / 2 + (y - below) / 2))[..., None]
    return 255 / 219 * (126 - 16) + red_difference * np.array([1.596, -0.813, 0])  # ITU-R BT.601


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty"])
def test_what_cannot_be_read_is_a_media_error_that_names_it(
    open_stream: Open, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "input.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("some words\n" * 100 if kind == "text" else "")
    with pytest.raises(MediaError, match=r"input\.mp4") as caught:
        list(open_stream(path))
    assert "\n" not in str(caught.value)
