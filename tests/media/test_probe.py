from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.errors import MediaError
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.probe import probe_audio, probe_video
from lipsync_cli.media.reader import VideoReader

PICTURE_READERS = [probe_video, VideoReader]
SOUND_READERS = [probe_audio, load_waveform]


def test_a_video_says_its_size_rate_duration_and_codec(studio: Any) -> None:
    rate = Fraction(30_000, 1001)
    path = studio.clip(times=[float(index / rate) for index in range(30)], rate=rate, size=(96, 64))
    info = probe_video(path)
    assert info.path == path
    assert (info.width, info.height, info.n_frames, info.codec) == (96, 64, 30, "h264")
    assert abs(float(info.rate / rate) - 1) < 1e-4
    assert info.duration == pytest.approx(float(30 / rate), abs=0.04)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_duration_and_number_of_frames_are_the_picture_s_where_the_sound_is_longer(
    studio: Any, name: str, make_noise: Callable[..., Any]
) -> None:
    info = probe_video(studio.clip(name, times=[i / 25 for i in range(25)], sound=make_noise(3.0)))
    assert info.duration == pytest.approx(1.0, abs=0.065)
    assert abs(info.n_frames - 25) <= 1


def test_duration_is_when_the_last_frame_ends_on_the_shared_time_line(
    studio: Any, make_noise: Callable[..., Any]
) -> None:
    path = studio.clip(times=[0.4 + index / 25 for index in range(10)], sound=make_noise(1.0))
    assert probe_video(path).duration == pytest.approx(0.8, abs=0.041)


def test_a_sound_says_its_rate_channels_duration_and_codec(
    studio: Any, make_noise: Callable[..., Any]
) -> None:
    info = probe_audio(studio.sound("speech.flac", make_noise(1.5, rate=22_050, channels=2), rate=22_050))
    assert (info.sample_rate, info.channels, info.codec) == (22_050, 2, "flac")
    assert info.duration == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("read", [*PICTURE_READERS, *SOUND_READERS])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(MediaError, match=r"nothing here\.mp4.*no such file"):
        read(tmp_path / "nothing here.mp4")


@pytest.mark.parametrize("read", [*PICTURE_READERS, *SOUND_READERS])
def test_a_folder_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(MediaError, match="folder"):
        read(tmp_path)


@pytest.mark.parametrize("read", [*PICTURE_READERS, *SOUND_READERS])
@pytest.mark.parametrize("name", ["notes.mp4", "notes.wav", "notes.txt", "notes.png"])
@pytest.mark.parametrize("content", [b"", b"just a few words\n" * 40], ids=["empty", "text"])
def test_a_file_that_is_not_media_is_refused_in_one_line(
    tmp_path: Path, read: Callable[[Path], Any], name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match="notes") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", PICTURE_READERS)
def test_sound_alone_is_no_video(
    studio: Any, read: Callable[[Path], Any], make_noise: Callable[..., Any]
) -> None:
    with pytest.raises(MediaError, match=r"speech\.wav.*no video"):
        read(studio.wav("speech.wav", make_noise(0.5)))


@pytest.mark.parametrize("read", SOUND_READERS)
def test_a_silent_video_has_no_sound(studio: Any, read: Callable[[Path], Any]) -> None:
    with pytest.raises(MediaError, match=r"clip\.mp4.*no sound"):
        read(studio.clip())


@pytest.mark.parametrize("read", PICTURE_READERS)
def test_cover_art_is_no_video(
    tmp_path: Path, read: Callable[[Path], Any], make_noise: Callable[..., Any]
) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=25, width=32, height=32, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        container.mux(cover.encode(picture.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        sound = av.AudioFrame.from_ndarray(make_noise(1.0), "fltp", "mono")
        sound.sample_rate, sound.pts = 48_000, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video  # the library takes it for one
    with pytest.raises(MediaError, match=r"song\.mp4.*no video"):
        read(path)
    assert load_waveform(path).duration == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("read", PICTURE_READERS)
def test_a_video_without_one_frame_is_refused(studio: Any, read: Callable[[Path], Any]) -> None:
    path = studio.clip("hollow.mkv")
    stored = path.read_bytes()
    path.write_bytes(stored[: stored.index(bytes.fromhex("1f43b675"))])  # up to the first cluster
    with pytest.raises(MediaError, match=r"hollow\.mkv"):
        read(path)


@pytest.mark.parametrize("read", [probe_video, VideoReader, load_waveform])
def test_a_file_with_copy_protection_is_refused_by_name(
    studio: Any, make_noise: Callable[..., Any], read: Callable[[Path], Any]
) -> None:
    """Its noise decodes to a picture now and then."""
    key = "00112233445566778899aabbccddeeff"
    protection = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    locked = studio.clip("locked.mp4", sound=make_noise(1.0), container_options=protection)
    with pytest.raises(MediaError, match=r"locked\.mp4: is encrypted"):
        read(locked)


@pytest.mark.parametrize("name", ["with space.mp4", "größe ✓.mp4", "-dash.mp4", "12:30.mp4", "50%d.mp4"])
def test_any_name_of_a_file_is_read(
    studio: Any, name: str, monkeypatch: pytest.MonkeyPatch, make_noise: Callable[..., Any]
) -> None:
    studio.clip(name, sound=make_noise(0.4))
    monkeypatch.chdir(studio.folder)
    assert sum(1 for _ in VideoReader(Path(name))) == 10
    assert load_waveform(Path(name)).duration > 0.3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match=r"pipe\.mp4: this is a pipe"):
        probe_video(tmp_path / "pipe.mp4")
