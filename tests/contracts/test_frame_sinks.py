"""What every `FrameSink` promises, whatever encodes the video."""

from __future__ import annotations

import shutil
import wave
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Colours, Frame, FrameSink
from lipsync_cli.media.ffmpeg_writer import FfmpegWriter
from lipsync_cli.media.writer import VideoWriter

SINKS = [pytest.param(VideoWriter, id="pyav"), pytest.param(FfmpegWriter, id="ffmpeg")]
"""One line for each implementation: called with (path, *, width, height, rate, speech)."""

RATE = Fraction(30_000, 1001)


@pytest.fixture(params=SINKS)
def open_sink(request: pytest.FixtureRequest) -> Callable[..., FrameSink]:
    if request.param is FfmpegWriter and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    sink: Callable[..., FrameSink] = request.param
    return sink


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder / "an output.mp4"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two seconds of a 440 Hz tone at 44.1 kHz, mono."""
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(88_200) / 44_100)
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(tone.astype("<i2").tobytes())
    return path


def frame(index: int, time: float | None = None) -> Frame:
    image = np.full((48, 64, 3), 10 * (index % 25), np.uint8)
    return Frame(index, float(index / RATE) if time is None else time, image)


def decoded(path: Path) -> tuple[list[float], list[float]]:
    """Time and mean luma of each frame, by the media library alone."""
    with av.open(str(path)) as container:
        frames = [(f.time, float(np.mean(f.to_ndarray()[: f.height]))) for f in container.decode(video=0)]
    return [time for time, _ in frames], [luma for _, luma in frames]


def write_some(sink: FrameSink, n_frames: int) -> None:
    for index in range(n_frames):
        sink.write(frame(index))


def test_frames_arrive_in_order_at_their_times(open_sink: Callable[..., FrameSink], target: Path) -> None:
    with open_sink(target, width=64, height=48, rate=RATE, speech=None) as sink:
        write_some(sink, 20)
    times, luma = decoded(target)
    np.testing.assert_allclose(times, [float(index / RATE) for index in range(20)], atol=1e-6)
    np.testing.assert_allclose(luma, [16 + 219 / 255 * 10 * index for index in range(20)], atol=3)


class Kept:
    """An unchanged `StoredPicture` whose chroma no 8-bit RGB picture could be the source of."""

    shape = (48, 64, 3)
    changes = ()

    def __init__(self, bits: int) -> None:
        rng = np.random.default_rng(bits)
        self.image = np.full((48, 64, 3), 100, np.uint8)
        self.colours = Colours(6, 6, 6, bits)
        kind, step = (np.uint8, 1) if bits == 8 else (np.uint16, 4)
        luma = np.tile(np.arange(64) * 3 * step + 20 * step + (1 if bits > 8 else 0), (48, 1))
        chroma = rng.integers(118 * step, 138 * step, (24, 1)) * np.ones((1, 32))
        self.stored = luma.astype(kind), chroma.astype(kind), chroma[::-1].astype(kind)

    def planes(self) -> tuple[Any, Any, Any]:
        return self.stored


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_what_is_unchanged_of_a_stored_picture_is_written_as_it_was_in_all_its_bits(
    open_sink: Callable[..., FrameSink], target: Path, codec: str, bits: int
) -> None:
    kept = Kept(bits)
    settings = {"codec": codec, "colours": kept.colours, "crf": 1}
    with open_sink(target, width=64, height=48, rate=RATE, speech=None, **settings) as sink:
        for index in range(3):
            sink.write(Frame(index, float(index / RATE), kept))
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == ("yuv420p" if bits == 8 else "yuv420p10le")
        assert (context.colorspace, context.color_primaries, context.color_trc) == (6, 6, 6)
        for found in container.decode(video=0):
            for plane, stored in zip(found.planes, kept.stored, strict=True):
                values = np.frombuffer(memoryview(plane), stored.dtype).reshape(plane.height, -1)
                difference = values[:, : plane.width].astype(int) - stored
                assert np.abs(difference).mean() < 0.6  # of 255 or of 1023


def test_variable_rates_are_kept(open_sink: Callable[..., FrameSink], target: Path) -> None:
    times = [0.0, 0.021, 0.1, 0.13, 0.5, 0.511]
    with open_sink(target, width=64, height=48, rate=RATE, speech=None) as sink:
        for index, time in enumerate(times):
            sink.write(frame(index, time))
    np.testing.assert_allclose(decoded(target)[0], times, atol=1e-4)


@pytest.mark.parametrize("n_frames", [30, 90], ids=["speech_longer", "speech_shorter"])
def test_sound_does_not_outlast_the_picture(
    open_sink: Callable[..., FrameSink], target: Path, speech: Path, n_frames: int
) -> None:
    with open_sink(target, width=64, height=48, rate=RATE, speech=speech) as sink:
        write_some(sink, n_frames)
    with av.open(str(target)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert audio.codec_context.sample_rate == 44_100
        video_end = float(video.duration * video.time_base)
        audio_end = float(audio.duration * audio.time_base)
    assert video_end == pytest.approx(float(n_frames / RATE), abs=1e-3)
    assert min(2.0, video_end) - 0.03 < audio_end <= video_end + 1e-3


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".m4v"])
def test_other_containers_hold_the_same(
    open_sink: Callable[..., FrameSink], target: Path, speech: Path, suffix: str, codec: str
) -> None:
    target = target.with_suffix(suffix)
    with open_sink(target, width=64, height=48, rate=RATE, speech=speech, codec=codec) as sink:
        write_some(sink, 30)
    assert list(target.parent.iterdir()) == [target]
    rounding = 5.1e-4 if suffix == ".mkv" else 1e-6  # Matroska counts milliseconds
    np.testing.assert_allclose(decoded(target)[0], [float(i / RATE) for i in range(30)], atol=rounding)
    with av.open(str(target)) as container:
        assert ("matroska" in container.format.name) == (suffix == ".mkv")
        assert container.streams.video[0].codec_context.name == codec
        assert container.streams.audio[0].codec_context.name == ("aac" if suffix == ".m4v" else "pcm_s16le")
        assert float((container.duration or 0) / 1e6) == pytest.approx(float(30 / RATE), abs=0.05)


def test_the_name_appears_only_on_a_clean_exit(open_sink: Callable[..., FrameSink], target: Path) -> None:
    with open_sink(target, width=64, height=48, rate=RATE, speech=None) as sink:
        write_some(sink, 5)
        assert not target.exists()
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MediaError])
@pytest.mark.parametrize("n_frames", [0, 1, 60])
def test_after_an_error_the_folder_is_as_before(
    open_sink: Callable[..., FrameSink], target: Path, speech: Path, error: type[BaseException], n_frames: int
) -> None:
    target.write_bytes(b"the older one")

    def stop_after_some() -> None:
        with open_sink(target, width=64, height=48, rate=RATE, speech=speech) as sink:
            write_some(sink, n_frames)
            raise error("stop")

    with pytest.raises(error, match="stop"):
        stop_after_some()
    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() == b"the older one"


def test_frames_are_not_held_by_the_sink(open_sink: Callable[..., FrameSink], target: Path) -> None:
    given: list[weakref.ref[Any]] = []
    with open_sink(target, width=64, height=48, rate=RATE, speech=None) as sink:
        for index in range(60):
            one = frame(index)
            given.append(weakref.ref(one.image))
            sink.write(one)
            del one
            assert sum(reference() is not None for reference in given) <= 1


def test_times_that_do_not_rise_are_a_bug_of_the_caller(
    open_sink: Callable[..., FrameSink], target: Path
) -> None:
    with open_sink(target, width=64, height=48, rate=RATE, speech=None) as sink:
        sink.write(frame(0, 0.5))
        with pytest.raises(ValueError, match="frame 1"):
            sink.write(frame(1, 0.5))


@pytest.mark.parametrize("place", ["no such folder/out.mp4", "speech.mp4"])
def test_a_place_that_cannot_be_written_is_a_media_error(
    open_sink: Callable[..., FrameSink], tmp_path: Path, place: str
) -> None:
    (tmp_path / "speech.mp4").mkdir()
    with (
        pytest.raises(MediaError, match=Path(place).name),
        open_sink(tmp_path / place, width=64, height=48, rate=RATE, speech=None),
    ):
        pass
