from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Frame, FrameSink
from lipsync_cli.media.chunks import ChunkedWriter, finished_chunks
from lipsync_cli.media.ffmpeg_writer import FfmpegWriter
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter

WIDTH, HEIGHT = 64, 48
N = 10
"""Frames of a piece."""


def film(n: int, rate: Fraction, uneven: float = 0.0) -> list[Frame]:
    """A bright bar that moves over a pattern; every third frame is `uneven` seconds late."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for i in range(n):
        image = np.stack([rows * 4, columns * 3, (rows + columns) * 2], axis=-1).astype(np.uint8)
        image[:, (3 * i) % WIDTH : (3 * i) % WIDTH + 8] = 230
        frames.append(Frame(i, float(i / rate) + uneven * (i % 3 == 1), image))
    return frames


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    sound = 0.2 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    soundfile.write(path, sound, 16_000)
    return path


@pytest.fixture(params=[VideoWriter, FfmpegWriter], ids=["pyav", "ffmpeg"])
def writer(request: pytest.FixtureRequest) -> Callable[..., FrameSink]:
    if request.param is FfmpegWriter and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    sink: Callable[..., FrameSink] = request.param
    return sink


@pytest.fixture
def chunked(tmp_path: Path, speech: Path, writer: Callable[..., FrameSink]) -> Callable[..., ChunkedWriter]:
    def make(name: str = "out.mp4", rate: Fraction = Fraction(25), **chosen: str) -> ChunkedWriter:
        folder = tmp_path / f"{name}.pieces"
        folder.mkdir(exist_ok=True)
        return ChunkedWriter(
            tmp_path / name,
            folder,
            n_frames=N,
            open_chunk=lambda path: writer(
                path, width=WIDTH, height=HEIGHT, rate=rate, speech=None, **chosen
            ),
            rate=rate,
            speech=speech,
            comment="made by a test",
        )

    return make


def write(sink: FrameSink, frames: list[Frame]) -> None:
    with sink:
        for frame in frames:
            sink.write(frame)


class Stopped(Exception):
    pass


def stop_after(sink: ChunkedWriter, frames: list[Frame]) -> None:
    with pytest.raises(Stopped), sink:  # noqa: PT012
        for frame in frames[sink.n_kept :]:
            sink.write(frame)
        raise Stopped


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
@pytest.mark.parametrize("n", [1, N, 2 * N + 3])
def test_a_joined_video_has_the_frames_times_and_sound_of_one_written_at_once(
    codec: str,
    rate: Fraction,
    n: int,
    chunked: Callable[..., ChunkedWriter],
    writer: Callable[..., FrameSink],
    speech: Path,
    tmp_path: Path,
) -> None:
    frames = film(n, rate, uneven=0.004)
    write(chunked(rate=rate, codec=codec), frames)
    whole = tmp_path / "whole.mp4"
    write(writer(whole, width=WIDTH, height=HEIGHT, rate=rate, speech=speech, codec=codec), frames)
    ours, theirs = list(VideoReader(tmp_path / "out.mp4")), list(VideoReader(whole))
    assert [f.time for f in ours] == pytest.approx([f.time for f in frames], abs=1e-5)
    assert [f.time for f in ours] == [f.time for f in theirs]
    for frame, expected in zip(ours, frames, strict=True):
        assert np.abs(frame.image.astype(int) - expected.image).mean() < 8
    with av.open(str(tmp_path / "out.mp4")) as a, av.open(str(whole)) as b:
        for x, y in zip(a.streams, b.streams, strict=True):
            assert x.codec_context.codec_tag == y.codec_context.codec_tag
            assert float(x.duration * x.time_base) == pytest.approx(
                float(y.duration * y.time_base), abs=0.006
            )
        stamps = [p.dts for p in a.demux(a.streams.video[0]) if p.size]
        assert stamps == sorted(set(stamps))
        assert a.metadata["comment"] == "made by a test"
    with av.open(str(tmp_path / "out.mp4")) as a, av.open(str(whole)) as b:
        sounds = [np.concatenate([f.to_ndarray() for f in c.decode(audio=0)], axis=1) for c in (a, b)]
        assert np.array_equal(*sounds)


@pytest.mark.parametrize("stops", [[N + 4], [3, N, 2 * N + 7, 2 * N + 8]])
def test_a_video_that_was_stopped_and_gone_on_with_is_the_same_to_the_bit(
    stops: list[int], chunked: Callable[..., ChunkedWriter], tmp_path: Path
) -> None:
    frames = film(3 * N + 5, Fraction(25))
    write(chunked("at_once.mp4", preset="veryfast"), frames)
    for stop in stops:
        stop_after(chunked(preset="veryfast"), frames[:stop])
        assert not (tmp_path / "out.mp4").exists()
    sink = chunked(preset="veryfast")
    assert sink.n_kept == stops[-1] // N * N
    write(sink, frames[sink.n_kept :])
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "at_once.mp4").read_bytes()


def test_pieces_after_a_gap_damaged_or_short_ones_are_made_anew(
    chunked: Callable[..., ChunkedWriter], tmp_path: Path
) -> None:
    frames = film(4 * N + 2, Fraction(25))
    write(chunked(preset="veryfast"), frames)
    folder = tmp_path / "out.mp4.pieces"
    pieces = sorted(folder.iterdir())
    assert len(pieces) == 5
    assert len(finished_chunks(folder, N)) == 4  # the last one is short
    before = (tmp_path / "out.mp4").read_bytes()
    pieces[2].write_bytes(pieces[2].read_bytes()[:200])
    assert [chunk.path for chunk in finished_chunks(folder, N)] == pieces[:2]
    sink = chunked(preset="veryfast")
    write(sink, frames[sink.n_kept :])
    assert (tmp_path / "out.mp4").read_bytes() == before


def test_without_a_frame_there_is_no_file(chunked: Callable[..., ChunkedWriter], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame"), chunked():
        pass
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_joined_leaves_no_file_and_keeps_the_pieces(
    chunked: Callable[..., ChunkedWriter], tmp_path: Path
) -> None:
    """The output's name is taken by a folder in the meantime."""
    frames = film(N + 2, Fraction(25))
    sink = chunked()
    with pytest.raises(MediaError, match="cannot be written"), sink:  # noqa: PT012
        for frame in frames:
            sink.write(frame)
        (tmp_path / "out.mp4").mkdir()
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert len(list((tmp_path / "out.mp4.pieces").iterdir())) == 2
