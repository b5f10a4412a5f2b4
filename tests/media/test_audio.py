from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.errors import MediaError
from lipsync_cli.media.audio import SoundReader, load_waveform
from lipsync_cli.media.reader import VideoReader

RATE = 48_000


def test_a_wave_file_comes_back_sample_for_sample(studio: Any, make_noise: Callable[..., Any]) -> None:
    sound = make_noise(0.7, rate=16_000)
    waveform = load_waveform(studio.wav("speech.wav", sound, 16_000), 16_000)
    assert waveform.sample_rate == 16_000
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.shape == sound[0].shape
    np.testing.assert_allclose(waveform.samples, sound[0], atol=1 / 32767)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_every_sample_format_has_the_same_loudness(
    studio: Any, codec: str, make_noise: Callable[..., Any]
) -> None:
    sound = make_noise(0.5)
    samples = load_waveform(studio.sound("speech.wav", sound, codec=codec), RATE).samples
    np.testing.assert_allclose(samples, sound[0], atol=0.01 if codec == "pcm_u8" else 1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_sound_of_any_rate_keeps_its_length_and_place(
    studio: Any, rate: int, make_noise: Callable[..., Any], find_lag: Callable[[Any, Any], int]
) -> None:
    time = np.arange(rate) / rate
    envelope = np.sin(2 * np.pi * (200 * time + 600 * time**2)) * np.hanning(rate)  # 200 to 1400 Hz
    path = studio.wav("speech.wav", envelope[None] * 0.5, rate)
    samples = load_waveform(path, 16_000).samples
    time = np.arange(16_000) / 16_000
    expected = 0.5 * np.sin(2 * np.pi * (200 * time + 600 * time**2)) * np.hanning(16_000)
    assert abs(len(samples) - 16_000) <= 1
    assert find_lag(samples, expected) == 0
    assert np.abs(samples[:15_999] - expected[:15_999]).max() < 0.01


@pytest.mark.parametrize(
    "name", ["speech.wav", "speech.flac", "speech.mp3", "speech.m4a", "speech.opus", "speech.mka"]
)
@pytest.mark.parametrize("seconds", [3.0, 2.345])
def test_encoder_delay_and_padding_are_cut(
    studio: Any,
    name: str,
    seconds: float,
    make_noise: Callable[..., Any],
    find_lag: Callable[[Any, Any], int],
) -> None:
    sound = make_noise(seconds)
    samples = load_waveform(studio.sound(name, sound), RATE).samples
    # Matroska does not say how much of the last block of AAC is padding.
    assert len(samples) / RATE == pytest.approx(seconds, abs=0.022 if name == "speech.mka" else 0.001)
    assert find_lag(samples, sound[0]) == 0


def test_stereo_becomes_the_mean_of_left_and_right(studio: Any, make_noise: Callable[..., Any]) -> None:
    sound = make_noise(0.5, channels=2)
    both = load_waveform(studio.wav("both.wav", sound), RATE).samples
    np.testing.assert_allclose(both, sound.mean(axis=0), atol=1e-4)
    same = load_waveform(studio.wav("same.wav", sound[[0, 0]]), RATE).samples
    np.testing.assert_allclose(same, sound[0], atol=1e-4)


def test_the_centre_of_surround_sound_is_heard(studio: Any, make_noise: Callable[..., Any]) -> None:
    sound = make_noise(0.5)
    channels = np.zeros((6, sound.shape[1]), np.float32)
    channels[2] = sound[0]
    path = studio.folder / "surround.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="5.1")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), "fltp", "5.1")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples = load_waveform(path, RATE).samples
    assert np.corrcoef(samples, sound[0])[0, 1] > 0.999
    assert 0.3 < samples.std() / sound.std() <= 1.0
    assert SoundReader(path).channels == 2


def test_loud_sound_stays_within_one(studio: Any) -> None:
    square = np.sign(np.sin(np.arange(RATE) * 0.05))[None] * 0.999
    samples = load_waveform(studio.sound("loud.m4a", square), 16_000).samples
    assert np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("start", [0.25, 0.5])
@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_a_track_that_starts_late_begins_with_silence(
    studio: Any, name: str, start: float, make_click: Callable[..., Any]
) -> None:
    path = studio.clip(name, sound=make_click(1.0, at=0.4), sound_start=start)
    samples = load_waveform(path, RATE).samples
    onset = np.flatnonzero(np.abs(samples) > 0.05)[0] / RATE
    assert onset == pytest.approx(start + 0.4, abs=0.005)
    assert not samples[: round((start - 0.03) * RATE)].any()


@pytest.mark.parametrize("picture_start", [0.0, 0.2])
@pytest.mark.parametrize("sound_start", [0.0, 0.3])
@pytest.mark.parametrize(
    ("name", "sound_codec"),
    [
        ("av.mp4", "aac"),
        ("av.mov", "aac"),
        ("av.mkv", "aac"),
        ("av.webm", "libopus"),
        ("av.ts", "aac"),
        ("av.flv", "aac"),
    ],
)
def test_a_click_and_a_flash_stay_together(
    studio: Any,
    name: str,
    sound_codec: str,
    picture_start: float,
    sound_start: float,
    make_click: Callable[..., Any],
) -> None:
    """Whatever starts first and however the container counts: within 5 ms."""
    black, white = np.full((48, 64, 3), 16, np.uint8), np.full((48, 64, 3), 235, np.uint8)
    times = [picture_start + index / 50 for index in range(60)]
    flash = times[35]
    path = studio.clip(
        name,
        times=times,
        images=[black] * 35 + [white] * 25,
        codec="libvpx-vp9" if name.endswith("webm") else "libx264",
        sound=make_click(1.5, at=flash - sound_start),
        sound_codec=sound_codec,
        sound_start=sound_start,
    )
    seen = next(frame.time for frame in VideoReader(path) if frame.image.mean() > 120)
    samples = load_waveform(path, RATE).samples
    heard = np.flatnonzero(np.abs(samples) > 0.08)[0] / RATE
    assert heard == pytest.approx(seen, abs=0.005)


def test_damaged_sound_leaves_what_follows_in_its_place(
    studio: Any, make_noise: Callable[..., Any], find_lag: Callable[[Any, Any], int]
) -> None:
    sound = make_noise(2.0)
    path = studio.sound("damaged.mka", sound, codec="flac")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        middle = [(packet.pos, bytes(packet)) for packet in packets[5:8]]
    stored = path.read_bytes()
    for position, payload in middle:
        first = stored.index(payload, position)
        stored = stored[:first] + bytes(len(payload)) + stored[first + len(payload) :]
    path.write_bytes(stored)
    samples = load_waveform(path, RATE).samples
    assert len(samples) / RATE == pytest.approx(2.0, abs=0.001)
    np.testing.assert_allclose(samples[-RATE:], sound[0, -RATE:], atol=1e-3)


def test_a_broken_off_file_gives_what_there_is(studio: Any, make_noise: Callable[..., Any]) -> None:
    path = studio.sound("broken.mp3", make_noise(4.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 1.5 < load_waveform(path).duration < 2.2


def test_sound_that_cannot_be_decoded_is_refused(studio: Any, make_noise: Callable[..., Any]) -> None:
    path = studio.sound("ruin.mka", make_noise(1.0), codec="flac")
    with av.open(str(path)) as container:
        packets = [(packet.pos, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
    stored = path.read_bytes()
    for position, payload in packets:
        first = stored.index(payload, position)
        stored = stored[:first] + bytes(len(payload)) + stored[first + len(payload) :]
    path.write_bytes(stored)
    with pytest.raises(MediaError, match=r"ruin\.mka.*decoded"):
        load_waveform(path)


def test_memory_is_that_of_the_result(studio: Any, make_noise: Callable[..., Any]) -> None:
    path = studio.wav("long.wav", make_noise(60.0, channels=2))
    tracemalloc.start()
    try:
        waveform = load_waveform(path, 16_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(waveform.samples) == 60 * 16_000
    assert peak < 1.5 * waveform.samples.nbytes


def test_blocks_of_an_abandoned_reading_close_the_file(
    studio: Any, make_noise: Callable[..., Any], open_files: Callable[[Path], int]
) -> None:
    path = studio.wav("long.wav", make_noise(5.0))
    blocks = iter(SoundReader(path))
    next(blocks)
    assert open_files(path) == 1
    blocks.close()
    assert open_files(path) == 0
