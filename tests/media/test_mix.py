from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.layout import AudioLayout

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Frame
from lipsync_cli.media.audio import SURROUND, SoundReader, load_waveform
from lipsync_cli.media.mix import MixedSound, Voice
from lipsync_cli.media.probe import probe_audio
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter


def all_of(sound: Any) -> np.ndarray:
    return np.concatenate(list(sound), axis=1)


def write(path: Path, speech: Any, seconds: float = 1.0) -> Path:
    with VideoWriter(path, width=32, height=32, rate=Fraction(25), speech=speech) as sink:
        for index in range(round(seconds * 25)):
            sink.write(Frame(index, index / 25, np.zeros((32, 32, 3), np.uint8)))
    return path


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_a_mixture_is_the_sum_and_as_long_as_its_longest(studio: Any, make_noise: Any) -> None:
    first, second = make_noise(0.5, seed=1) / 2, make_noise(0.8, seed=2) / 2
    voices = [Voice(studio.wav("a.wav", first)), Voice(studio.wav("b.wav", second), volume=0.5)]
    mixed = MixedSound(voices)
    expected = 0.5 * second
    expected[:, : first.shape[1]] += first
    assert np.abs(all_of(mixed) - expected).max() < 2e-4
    assert mixed.info.duration == pytest.approx(0.8)
    assert np.array_equal(all_of(mixed), all_of(mixed))  # every iteration starts again


def test_what_repeats_goes_on_as_long_as_the_others(studio: Any, make_noise: Any) -> None:
    speech = np.zeros((1, 48_000), np.float32)
    bed = make_noise(0.3, seed=3)
    mixed = all_of(MixedSound([Voice(studio.wav("a.wav", speech)), Voice(studio.wav("b.wav", bed), 1, True)]))
    assert mixed.shape == (1, 48_000)
    assert np.abs(mixed - np.tile(bed, 4)[:, :48_000]).max() < 2e-4


def test_rates_and_channels_of_a_mixture_are_those_of_the_first_and_the_most(
    studio: Any, make_noise: Any
) -> None:
    speech = studio.wav("a.wav", make_noise(0.4, rate=16_000), rate=16_000)
    stereo = studio.wav("b.wav", make_noise(0.4, channels=2))
    mixed = MixedSound([Voice(speech), Voice(stereo)])
    assert (mixed.info.sample_rate, mixed.channels) == (16_000, 2)
    assert all_of(mixed).shape[0] == 2
    assert all_of(mixed).shape[1] == pytest.approx(6400, abs=20)


def test_too_loud_a_sum_is_clipped(studio: Any) -> None:
    loud = studio.wav("a.wav", np.full((1, 4800), 0.9, np.float32))
    assert all_of(MixedSound([Voice(loud), Voice(loud)])).max() == 1


def test_only_repeating_sounds_never_end(studio: Any, make_noise: Any) -> None:
    bed = studio.wav("a.wav", make_noise(0.1))
    blocks = list(islice(MixedSound([Voice(bed, 1, True)]), 30))
    assert sum(block.shape[1] for block in blocks) > 100_000


def test_a_sound_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.wav"):
        MixedSound([Voice(tmp_path / "none.wav")])


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("b.m4a", "alac")])
def test_a_speech_that_mp4_takes_is_copied_bit_by_bit(
    studio: Any, make_noise: Any, find_lag: Any, tmp_path: Path, name: str, codec: str
) -> None:
    sound = make_noise(1.0, channels=2)
    speech = studio.sound(name, sound, codec=codec)
    output = write(tmp_path / "out.mp4", speech)
    ours, theirs = packets_of(output), packets_of(speech)
    assert ours == theirs[: len(ours)]
    assert len(ours) >= len(theirs) - 3
    written, read = load_waveform(output, 48_000), load_waveform(speech, 48_000)
    assert abs(find_lag(written.samples, read.samples)) <= 0.001 * 48_000


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.wav", "pcm_s24le"), ("a.flac", "flac")]
)
def test_mov_and_matroska_take_speech_without_loss(
    studio: Any, make_noise: Any, tmp_path: Path, suffix: str, name: str, codec: str
) -> None:
    speech = studio.sound(name, make_noise(0.9, channels=2), codec=codec)
    output = write(tmp_path / f"out{suffix}", speech)
    assert probe_audio(output).codec == ("aac" if (codec, suffix) == ("flac", ".mov") else codec)
    written, read = load_waveform(output, 48_000).samples, load_waveform(speech, 48_000).samples
    length = min(len(written), len(read))
    assert length >= 0.9 * 48_000
    if probe_audio(output).codec == codec:
        assert np.array_equal(written[:length], read[:length])


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("a.opus", "libopus"), ("a.wav", None)]
)
def test_in_matroska_picture_and_sound_begin_at_time_0(
    studio: Any, make_noise: Any, find_lag: Any, tmp_path: Path, name: str, codec: str | None
) -> None:
    speech = studio.sound(name, make_noise(1.0, channels=2), codec=codec)
    output = write(tmp_path / "out.mkv", speech)
    assert [frame.time for frame in VideoReader(output)][:3] == [0.0, 0.04, 0.08]
    with av.open(str(output)) as container:
        assert container.streams.video[0].start_time == 0
    written, read = load_waveform(output, 48_000), load_waveform(speech, 48_000)
    assert abs(find_lag(written.samples, read.samples)) <= 0.001 * 48_000


def test_a_copied_speech_that_is_short_ends_where_it_is_over(
    studio: Any, make_noise: Any, tmp_path: Path
) -> None:
    output = write(tmp_path / "out.mp4", studio.sound("a.m4a", make_noise(0.4)), seconds=1.0)
    assert SoundReader(output).info.duration == pytest.approx(0.4, abs=2 * 1024 / 48_000)


@pytest.mark.parametrize("layout", ["3.0", "5.0(side)", "5.1", "5.1(side)", "quad"])
def test_speech_of_many_channels_keeps_those_that_aac_has(studio: Any, tmp_path: Path, layout: str) -> None:
    kept = SURROUND.get(layout, "stereo")
    names = [channel.name for channel in AudioLayout(layout).channels]
    tones = [np.sin(2 * np.pi * (400 + 200 * i) * np.arange(48_000) / 48_000) / 8 for i in range(len(names))]
    speech = tmp_path / "speech.flac"
    with av.open(str(speech), "w") as container:
        stream = container.add_stream("flac", rate=48_000, layout=layout)
        samples = (np.stack(tones) * 2**31).astype(np.int32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T.reshape(1, -1)), "s32", layout)
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    output = write(tmp_path / "out.mp4", speech)
    found = SoundReader(output, surround=True)
    assert (found.info.codec, found.layout) == ("aac", kept)
    if kept == "stereo":
        return
    places = {"SL": "BL", "SR": "BR"}  # the side speakers of one are the back ones of the other
    heard = np.concatenate(list(found), axis=1)[:, 8192 : 8192 + 24_000]
    for channel, sound in zip(AudioLayout(kept).channels, heard, strict=True):
        wanted = next(i for i, name in enumerate(names) if channel.name in (name, places.get(name)))
        if channel.name != "LFE":  # which AAC cuts off above 120 Hz
            assert np.argmax(np.abs(np.fft.rfft(sound))) == (400 + 200 * wanted) // 2


def test_a_copied_speech_ends_with_the_picture_within_a_packet(
    studio: Any, make_noise: Any, tmp_path: Path
) -> None:
    output = write(tmp_path / "out.mp4", studio.sound("a.m4a", make_noise(3.0)), seconds=1.0)
    assert SoundReader(output).info.duration == pytest.approx(1.0, abs=2 * 1024 / 48_000)


def test_a_track_that_starts_late_is_encoded_so_that_it_still_does(
    studio: Any, make_click: Any, find_lag: Any, tmp_path: Path
) -> None:
    speech = studio.clip("late.mp4", sound=make_click(0.6, 0.2), sound_start=0.3)
    output = write(tmp_path / "out.mp4", speech)
    written, read = load_waveform(output, 48_000), load_waveform(speech, 48_000)
    assert abs(find_lag(written.samples, read.samples)) <= 0.002 * 48_000


def test_a_mixture_is_written_with_the_picture(studio: Any, make_noise: Any, tmp_path: Path) -> None:
    voices = [
        Voice(studio.wav("a.wav", make_noise(0.5) / 2)),
        Voice(studio.wav("b.wav", make_noise(0.2)), 0.5, True),
    ]
    output = write(tmp_path / "out.mp4", MixedSound(voices))
    assert SoundReader(output).info.duration == pytest.approx(1.0, abs=0.03)
