"""Real media files, encoded by the tests themselves."""

from __future__ import annotations

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]
TICK = Fraction(1, 90_000)


@dataclass
class Clip:
    """A video to encode: what is not given is grey pictures at 25 fps."""

    times: Sequence[float] = tuple(index / 25 for index in range(10))
    images: Sequence[Array] | None = None
    """uint8 [H, W, 3] RGB, converted by the library; or `planes`."""
    planes: Sequence[Array] | None = None
    """Planes of one picture as they are to be stored, used for every frame."""
    size: tuple[int, int] = (64, 48)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    matrix: int | None = None
    full_range: bool | None = None
    rotation: float = 0
    pixel_aspect: Fraction | None = None
    sound: Array | None = None
    """float32 [channels, n]."""
    sound_codec: str = "aac"
    sound_rate: int = 48_000
    sound_start: float = 0.0
    rate: Fraction = Fraction(25)
    tick: Fraction = TICK
    """Of the encoder's time stamps."""

    def write(self, path: Path) -> Path:
        with av.open(str(path), "w", options=self.container_options) as container:
            video = self._video(container)
            audio = self._audio(container)
            for index, time in enumerate(self.times):
                frame = self._frame(index)
                frame.pts, frame.time_base = round(time / self.tick), self.tick
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            if audio is not None:
                mux_sound(container, audio, self.sound, self.sound_rate, self.sound_start)
        return path

    def _video(self, container: Any) -> Any:
        video = container.add_stream(self.codec, rate=self.rate, options=self.options)
        video.width, video.height = self.size
        video.pix_fmt = self.pixel_format
        video.codec_context.time_base = self.tick
        if self.matrix is not None:
            video.codec_context.colorspace = self.matrix
        if self.full_range is not None:
            video.codec_context.color_range = 2 if self.full_range else 1
        if self.rotation:
            video.set_display_rotation(self.rotation)
        if self.pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = self.pixel_aspect
        return video

    def _audio(self, container: Any) -> Any:
        if self.sound is None:
            return None
        layout = "mono" if len(self.sound) == 1 else "stereo"
        return container.add_stream(self.sound_codec, rate=self.sound_rate, layout=layout)

    def _frame(self, index: int) -> av.VideoFrame:
        width, height = self.size
        if self.planes is not None:
            frame = av.VideoFrame(width, height, self.pixel_format)
            for plane, values in zip(frame.planes, self.planes, strict=True):
                row = plane.line_size // values.dtype.itemsize
                padded = np.zeros((len(values), row), values.dtype)
                padded[:, : values.shape[1]] = values
                plane.update(padded.tobytes())
        else:
            image = np.full((height, width, 3), 128, np.uint8) if self.images is None else self.images[index]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame = frame.reformat(format=self.pixel_format, dst_colorspace="ITU601", dst_color_range="MPEG")
        if self.matrix is not None:
            frame.colorspace = self.matrix
        if self.full_range is not None:
            frame.color_range = 2 if self.full_range else 1
        return frame


def mux_sound(container: Any, stream: Any, sound: Array, rate: int, start: float = 0.0) -> None:
    """Encode float32 [channels, n] into a stream."""
    layout = "mono" if len(sound) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate), Fraction(1, rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def noise(seconds: float, rate: int = 48_000, channels: int = 1, seed: int = 0) -> Array:
    """Low-passed noise, so that any codec keeps its shape: float32 [channels, n]."""
    raw = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate) + 16))
    smooth = np.stack([np.convolve(row, np.ones(17) / 17, "valid") for row in raw])
    return (0.5 * smooth).astype(np.float32)


def click(seconds: float, at: float, rate: int = 48_000) -> Array:
    """Silence with 20 ms of noise: float32 [1, n]."""
    sound = np.zeros((1, round(seconds * rate)), np.float32)
    first = round(at * rate)
    sound[0, first : first + rate // 50] = noise(1, rate)[0, : rate // 50]
    return sound


def lag(sound: Array, original: Array) -> int:
    """By how many samples `sound` comes after `original`, both float [n]."""
    n = 2 * max(len(sound), len(original))
    products = np.fft.irfft(np.fft.rfft(sound, n) * np.conj(np.fft.rfft(original, n)))
    best = int(np.argmax(products))
    return best if best < len(products) // 2 else best - len(products)


@dataclass(frozen=True)
class Studio:
    """Makes files in the test's own folder."""

    folder: Path

    def clip(self, name: str = "clip.mp4", **settings: Any) -> Path:
        return Clip(**settings).write(self.folder / name)

    def sound(
        self, name: str, sound: Array, rate: int = 48_000, codec: str | None = None, format: str | None = None
    ) -> Path:
        path = self.folder / name
        codec = codec or {".mp3": "libmp3lame", ".flac": "flac", ".opus": "libopus", ".wav": "pcm_s16le"}.get(
            path.suffix, "aac"
        )
        with av.open(str(path), "w", format=format) as container:
            layout = "mono" if len(sound) == 1 else "stereo"
            mux_sound(container, container.add_stream(codec, rate=rate, layout=layout), sound, rate)
        return path

    def wav(self, name: str, sound: Array, rate: int = 48_000) -> Path:
        """int16, by the standard library alone."""
        path = self.folder / name
        with wave.open(str(path), "wb") as file:
            file.setnchannels(len(sound))
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((np.clip(sound.T, -1, 1) * 32767).round().astype("<i2").tobytes())
        return path


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def make_noise() -> Callable[..., Array]:
    return noise


@pytest.fixture
def make_click() -> Callable[..., Array]:
    return click


@pytest.fixture
def find_lag() -> Callable[[Array, Array], int]:
    return lag


@pytest.fixture
def open_files() -> Callable[[Path], int]:
    """How often a file is open in this process."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("counts open files in /proc, which this system has not")

    def count(path: Path) -> int:
        return sum(link.exists() and link.samefile(path) for link in descriptors.iterdir())

    return count
