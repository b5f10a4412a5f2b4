from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.interfaces import Frame
from lipsync_cli.media.audio import Samples, SoundReader, load_waveform
from lipsync_cli.media.probe import probe_audio, probe_video
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.speech_track import SpeechTrack
from lipsync_cli.media.writer import VideoWriter

FPS = Fraction(25)


def picture(level: int = 128, width: int = 64, height: int = 48) -> Any:
    return np.full((height, width, 3), level, np.uint8)


def write(path: Path, times: list[float], speech: Path | None = None, **settings: Any) -> Path:
    """Grey frames; the first quarter dark, the rest light."""
    shape = {"width": 64, "height": 48, "rate": FPS, "preset": "veryfast"} | settings
    size = {"width": shape["width"], "height": shape["height"]}
    with VideoWriter(path, speech=speech, **shape) as writer:
        for index, time in enumerate(times):
            writer.write(Frame(index, time, picture(40 if index < len(times) / 4 else 210, **size)))
    return path


def steps(n_frames: int, rate: Fraction = FPS) -> list[float]:
    return [float(index / rate) for index in range(n_frames)]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv"])
def test_codec_and_container_are_as_asked(tmp_path: Path, codec: str, suffix: str) -> None:
    path = write(tmp_path / f"out{suffix}", steps(5), codec=codec)
    assert probe_video(path).codec == codec
    assert sum(1 for _ in VideoReader(path)) == 5


@pytest.mark.parametrize(
    "rate",
    [Fraction(24_000, 1001), Fraction(25), Fraction(30_000, 1001), Fraction(60), Fraction(645_000, 26_491)],
)
def test_times_of_a_constant_rate_are_exact(tmp_path: Path, rate: Fraction) -> None:
    reader = VideoReader(write(tmp_path / "out.mp4", steps(40, rate), rate=rate))
    np.testing.assert_allclose([frame.time for frame in reader], steps(40, rate), rtol=0, atol=1e-9)
    assert reader.info.rate == rate
    assert reader.info.duration == pytest.approx(float(40 / rate), abs=1e-6)


def test_variable_times_are_kept_and_the_last_frame_lasts_one_step(tmp_path: Path) -> None:
    times = [0.0, 0.02, 0.1, 0.13, 0.5, 0.511, 0.52, 1.0]
    reader = VideoReader(write(tmp_path / "out.mp4", times))
    np.testing.assert_allclose([frame.time for frame in reader], times, atol=1e-5)
    assert reader.info.duration == pytest.approx(1.04, abs=1e-5)


@pytest.mark.parametrize("rate", [Fraction(24_000, 1001), FPS])
@pytest.mark.parametrize("seconds", [0.3, 1.2, 3.0])
def test_sound_ends_with_the_picture_whether_it_was_shorter_or_longer(
    studio: Any, rate: Fraction, seconds: float, make_noise: Callable[..., Any]
) -> None:
    speech = studio.wav("speech.wav", make_noise(seconds))
    path = write(studio.folder / "out.mp4", steps(30, rate), speech, rate=rate)
    end = float(30 / rate)
    waveform = load_waveform(path, 48_000)
    assert waveform.duration <= end + 1e-4
    assert waveform.duration == pytest.approx(end, abs=1e-4)
    if seconds < end:
        assert np.abs(waveform.samples[round((seconds + 0.05) * 48_000) :]).max() < 1e-3


@pytest.mark.parametrize(
    ("rate", "channels"), [(48_000, 2), (44_100, 2), (44_100, 1), (16_000, 1), (8_000, 1), (96_000, 2)]
)
def test_sound_keeps_its_rate_channels_and_place(
    studio: Any,
    rate: int,
    channels: int,
    make_noise: Callable[..., Any],
    find_lag: Callable[[Any, Any], int],
) -> None:
    sound = make_noise(2.0, rate=rate, channels=channels)
    path = write(studio.folder / "out.mp4", steps(50), studio.wav("speech.wav", sound, rate))
    info = probe_audio(path)
    assert (info.codec, info.sample_rate, info.channels) == ("aac", rate, channels)
    samples = load_waveform(path, rate).samples
    assert find_lag(samples, sound.mean(axis=0)) == 0
    assert np.corrcoef(samples, sound.mean(axis=0))[0, 1] > 0.9


def test_a_rate_that_aac_does_not_know_is_raised_to_the_next(
    studio: Any, make_noise: Callable[..., Any]
) -> None:
    speech = studio.wav("speech.wav", make_noise(1.0, rate=37_000), 37_000)
    path = write(studio.folder / "out.mp4", steps(25), speech)
    assert probe_audio(path).sample_rate == 44_100
    assert load_waveform(path).duration == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("rate", [Fraction(24_000, 1001), FPS, Fraction(30_000, 1001)])
@pytest.mark.parametrize("start", [0.0, 0.4])
def test_a_click_and_a_flash_stay_together(
    studio: Any, rate: Fraction, start: float, make_click: Callable[..., Any]
) -> None:
    times = [start + time for time in steps(60, rate)]
    speech = studio.wav("speech.wav", make_click(3.0, at=times[15]))
    path = write(studio.folder / "out.mp4", times, speech, rate=rate)
    seen = next(frame.time for frame in VideoReader(path) if frame.image.mean() > 120)
    heard = np.flatnonzero(np.abs(load_waveform(path, 48_000).samples) > 0.08)[0] / 48_000
    assert seen == pytest.approx(times[15], abs=1e-4)
    assert heard == pytest.approx(seen, abs=0.005)


def test_speech_may_be_the_track_of_a_video(studio: Any, make_click: Callable[..., Any]) -> None:
    source = studio.clip("source.mp4", sound=make_click(1.0, at=0.3), sound_start=0.25)
    path = write(studio.folder / "out.mp4", steps(40), source)
    heard = np.flatnonzero(np.abs(load_waveform(path, 48_000).samples) > 0.08)[0] / 48_000
    assert heard == pytest.approx(0.55, abs=0.005)


def test_picture_and_sound_are_interleaved(studio: Any, make_noise: Callable[..., Any]) -> None:
    path = write(studio.folder / "out.mp4", steps(150), studio.wav("speech.wav", make_noise(6.0)))
    with av.open(str(path)) as container:
        packets = sorted(
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.size
        )
    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, time in packets:
        latest[kind] = time
        assert abs(latest["video"] - latest["audio"]) < 1.5


def test_speech_is_read_only_as_far_as_the_picture_has_come(
    studio: Any, make_noise: Callable[..., Any]
) -> None:
    n_read = 0

    class Counting(SoundReader):
        def __iter__(self) -> Iterator[Samples]:
            nonlocal n_read
            for block in super().__iter__():
                n_read += block.shape[1]
                yield block

    sound = Counting(studio.wav("speech.wav", make_noise(20.0)))
    with av.open(str(studio.folder / "out.mp4"), "w") as container:
        track = SpeechTrack(container, sound)
        for second in range(1, 6):
            container.mux(list(track.until(Fraction(second))))
            assert second * 48_000 <= n_read < (second + 0.5) * 48_000
        container.mux(list(track.end(Fraction(5))))
        track.close()
    assert n_read < 5.5 * 48_000


def test_frames_given_away_are_not_held(tmp_path: Path) -> None:
    given: list[weakref.ref[Any]] = []
    with VideoWriter(tmp_path / "out.mp4", width=64, height=48, rate=FPS, speech=None) as writer:
        for index in range(80):
            image = picture(index)
            writer.write(Frame(index, index / 25, image))
            given.append(weakref.ref(image))
            del image
            assert not any(reference() is not None for reference in given)


def test_an_image_may_be_changed_after_it_was_given_away(tmp_path: Path) -> None:
    image = picture()
    with VideoWriter(tmp_path / "out.mp4", width=64, height=48, rate=FPS, speech=None, crf=1) as writer:
        for index in range(10):
            image[:] = 20 * index
            writer.write(Frame(index, index / 25, image))
    means = [frame.image.mean() for frame in VideoReader(tmp_path / "out.mp4")]
    np.testing.assert_allclose(means, [20 * index for index in range(10)], atol=3)


@pytest.mark.parametrize(("height", "matrix"), [(48, 6), (576, 6), (578, 1), (720, 1)])
def test_colours_come_back_and_are_tagged_by_height(tmp_path: Path, height: int, matrix: int) -> None:
    colours = np.array([[255, 255, 255], [0, 0, 0], [200, 120, 90], [255, 0, 0], [0, 0, 255], [30, 90, 160]])
    image = np.tile(np.repeat(colours, 16, axis=0)[None], (height, 1, 1)).astype(np.uint8)
    path = tmp_path / "out.mp4"
    with VideoWriter(path, width=image.shape[1], height=height, rate=FPS, speech=None, crf=0) as writer:
        writer.write(Frame(0, 0.0, image))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (matrix,) * 3
        assert context.color_range == 1
        assert context.pix_fmt == "yuv420p"
    shown = next(iter(VideoReader(path))).image[height // 2, 8::16]
    assert np.abs(shown.astype(int) - colours).max() <= 4


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (63, 47)])
def test_an_odd_size_gets_its_last_row_or_column_twice(tmp_path: Path, width: int, height: int) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows * 3, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    path = tmp_path / "out.mp4"
    with VideoWriter(path, width=width, height=height, rate=FPS, speech=None, crf=0) as writer:
        writer.write(Frame(0, 0.0, image))
    shown = next(iter(VideoReader(path))).image
    assert shown.shape == (height + height % 2, width + width % 2, 3)
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert np.abs(shown.astype(int) - padded).mean() < 3


def test_the_header_comes_first_so_that_players_start_at_once(
    studio: Any, make_noise: Callable[..., Any]
) -> None:
    stored = write(studio.folder / "out.mp4", steps(25), studio.wav("s.wav", make_noise(1.0))).read_bytes()
    assert 0 < stored.index(b"moov") < stored.index(b"mdat")


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_the_comment_is_written(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, steps(3), comment="made by a machine ✓")
    with av.open(str(path)) as container:
        assert {name.lower(): value for name, value in container.metadata.items()}[
            "comment"
        ] == "made by a machine ✓"


def test_better_quality_costs_more_bytes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    sizes = []
    for crf in (5, 40):
        path = tmp_path / f"{crf}.mp4"
        with VideoWriter(path, width=64, height=48, rate=FPS, speech=None, crf=crf) as writer:
            writer.write(Frame(0, 0.0, image))
        sizes.append(path.stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_videos_of_very_few_frames_are_written_in_either_codec(codec: str, n: int, tmp_path: Path) -> None:
    """x265 gives no decoding times to a video shorter than its own delay."""
    path, image = tmp_path / "short.mp4", np.full((48, 64, 3), 90, np.uint8)
    rate = Fraction(30000, 1001)
    with VideoWriter(path, width=64, height=48, rate=rate, speech=None, codec=codec) as sink:
        for i in range(n):
            sink.write(Frame(i, float(i / rate), image))
    assert [frame.time for frame in VideoReader(path)] == pytest.approx([float(i / rate) for i in range(n)])


@pytest.mark.parametrize(("preset", "search"), [("auto", b"subme=1"), ("veryfast", b"subme=2")])
def test_the_automatic_preset_searches_less(tmp_path: Path, preset: str, search: bytes) -> None:
    """libx264 writes its settings into the stream."""
    stored = write(tmp_path / "out.mp4", steps(5), preset=preset).read_bytes()
    assert search in stored
    assert b"me=hex" in stored
    assert b"crf=18.0" in stored


def test_the_same_pictures_become_the_same_bytes_every_time(tmp_path: Path) -> None:
    """libx264's AVX-512 code gives others in one run of ten or so."""
    grain = np.random.default_rng(0).integers(0, 60, (96, 160, 3), dtype=np.uint8)
    frames = [Frame(i, i / 25, np.roll(grain, 3 * i, axis=1) + np.uint8(4 * i)) for i in range(25)]
    seen = set()
    for _ in range(12):
        path = tmp_path / "out.mp4"
        with VideoWriter(
            path, width=160, height=96, rate=Fraction(25), speech=None, preset="veryfast"
        ) as sink:
            for frame in frames:
                sink.write(frame)
        seen.add(path.read_bytes())
    assert len(seen) == 1
