from __future__ import annotations

import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.data.layout import (
    CacheSettings,
    Clip,
    ClipArrays,
    ClipFacts,
    clip_path,
    start_cache,
    write_clip,
)
from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.interfaces import Box
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.camera import CameraMove
from lipsync_cli.media.reader import VideoReader

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """Programs that tests start take Ctrl-C also where the tests themselves run in the background of a shell,
    which makes its children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The developers' folder of real video and golden arrays, beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: this test needs the developers' folder of real video")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or leaves anything in, the cache folder of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    return ROOT / "weights"


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Called with a number of bytes: inside of it no file of this process, or of one that it starts, may grow
    beyond."""
    resource = pytest.importorskip("resource", reason="limits the size of files as POSIX systems can")

    @contextmanager
    def limited(largest: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


class Onnx:
    """Writes a little ONNX network: the mean of each colour of a picture [1, 3, 112, 112] -> [1, 3]."""

    @classmethod
    def write_mean_colour(cls, path: Path, size: int = 112) -> Path:
        nodes = [
            cls._node("GlobalAveragePool", "picture", "pooled"),
            cls._node("Flatten", "pooled", "colour"),
        ]
        graph = b"".join(cls._field(1, node) for node in nodes) + cls._field(2, b"mean colour")
        graph += cls._field(11, cls._value("picture", (1, 3, size, size)))
        graph += cls._field(12, cls._value("colour", (1, 3)))
        operators = cls._field(8, cls._field(1, b"") + cls._number(2, 13))
        path.write_bytes(cls._number(1, 8) + cls._field(7, graph) + operators)
        return path

    @classmethod
    def _node(cls, kind: str, source: str, result: str) -> bytes:
        return cls._field(1, source.encode()) + cls._field(2, result.encode()) + cls._field(4, kind.encode())

    @classmethod
    def _value(cls, name: str, shape: tuple[int, ...]) -> bytes:
        sides = b"".join(cls._field(1, cls._number(1, side)) for side in shape)
        floats = cls._field(1, cls._number(1, 1) + cls._field(2, sides))
        return cls._field(1, name.encode()) + cls._field(2, floats)

    @classmethod
    def _field(cls, number: int, content: bytes) -> bytes:
        return cls._varint(number << 3 | 2) + cls._varint(len(content)) + content

    @classmethod
    def _number(cls, number: int, value: int) -> bytes:
        return cls._varint(number << 3) + cls._varint(value)

    @staticmethod
    def _varint(value: int) -> bytes:
        digits = []
        while value > 127:
            digits.append(value & 127 | 128)
            value >>= 7
        return bytes([*digits, value])


@pytest.fixture
def mean_colour(tmp_path: Path) -> Path:
    """An ONNX network of faces, as simple as one can be."""
    return Onnx.write_mean_colour(tmp_path / "mean_colour.onnx")


class DrawnCorpus:
    """A cache of drawn faces whose mouths follow the sound: quick to make, and something to learn from."""

    N_FRAMES = 30

    def __init__(self, folder: Path, image_size: int) -> None:
        self.folder = folder
        self.image_size = image_size
        start_cache(folder, CacheSettings(image_size=image_size, crop_centre="features"))

    def add(
        self,
        speaker: str,
        name: str,
        n_frames: int = N_FRAMES,
        facts: ClipFacts | None = None,
        **changed: Any,
    ) -> Clip:
        """changed: arrays that take the place of the drawn ones."""
        path = clip_path(self.folder, speaker, name)
        arrays = self.arrays(zlib.crc32(f"{speaker}/{name}".encode()), n_frames)
        write_clip(path, replace(arrays, **changed), facts)
        return Clip(path)

    def arrays(self, seed: int, n_frames: int) -> ClipArrays:
        rng = np.random.default_rng(seed)
        curve = np.convolve(rng.random(n_frames + 2), np.ones(3) / 3, "valid")
        opening = (0.1 * (curve - curve.min()) / np.ptp(curve)).astype(np.float32)
        skin = rng.integers(120, 220, 3)

        def heard(rate: float, bins: int, gain: float) -> NDArray[np.float32]:
            """[T, bins], `rate` columns a second, as loud as the mouth is open."""
            times = np.arange(round(n_frames / 25 * rate)) / rate
            loud = opening[(times * 25 + 1e-6).astype(int)][:, None] * (1 + np.sin(np.arange(bins)) / 2)
            return (gain * loud + 0.1 * rng.random(loud.shape)).astype(np.float32)

        frames = np.arange(n_frames + 9).clip(4, n_frames + 3) - 4  # a step of the embedding for each frame
        return ClipArrays(
            crops=np.stack([self.face(value, skin, index) for index, value in enumerate(opening)]),
            landmarks=np.stack([self.landmarks(value) for value in opening]),
            openings=opening,
            yaws=np.zeros(n_frames, np.float32),
            mel=-4 + heard(80, 80, 40).T,
            log_mel=2 + heard(100, 32, 40),
            speech=heard(25, 384, 10)[frames].astype(np.float16),
        )

    def face(self, opening: float, skin: NDArray[np.integer[Any]], index: int) -> NDArray[np.uint8]:
        """A plain face with two eyes, a dark mouth as high as its opening, its index in the last corner."""
        size = self.image_size
        y, x = np.mgrid[:size, :size] / size
        image = np.broadcast_to(skin, (size, size, 3)).copy()
        image += (20 * np.sin(9 * x + 5 * y)).astype(int)[..., None]
        mouth = ((x - 0.5) / 0.2) ** 2 + ((y - 0.75) / (0.01 + opening)) ** 2 < 1
        eyes = ((abs(x - 0.5) - 0.2) / 0.06) ** 2 + ((y - 0.25) / 0.05) ** 2 < 1
        image[mouth | eyes] = 20
        image[-2:, -2:] = 8 * index % 256
        return image.clip(0, 255).astype(np.uint8)

    def landmarks(self, opening: float) -> NDArray[np.float32]:
        """[468, 2]: the lips on the mouth's edge, everything else in the middle."""
        size = self.image_size
        points = np.full((468, 2), size / 2, np.float32)
        turn = np.pi - 2 * np.pi * np.arange(20) / 20  # from the left corner through the lower lip
        for lips, wide, high in (
            (SCHEMES["mesh468"].lips[:20], 0.22, 0.03),
            (SCHEMES["mesh468"].lips[20:], 0.2, 0.01),
        ):
            points[list(lips), 0] = (0.5 + wide * np.cos(turn)) * size - 0.5
            points[list(lips), 1] = (0.75 + (high + opening) * np.sin(turn)) * size - 0.5
        return points


@pytest.fixture
def draw_corpus(tmp_path: Path) -> Callable[..., DrawnCorpus]:
    """Makes a cache: speakers a to e with 1 to 3 clips of 30 frames."""

    def make(image_size: int = 32, folder: str = "cache") -> DrawnCorpus:
        corpus = DrawnCorpus(tmp_path / folder, image_size)
        for speaker, n_clips in (("a", 3), ("b", 2), ("c", 1), ("d", 1), ("e", 1)):
            for index in range(n_clips):
                corpus.add(speaker, f"clip{index}")
        return corpus

    return make


class Filmer:
    """Encodes short films of the demo's portrait: a real face, with or without sound."""

    SIZE = 320

    def __init__(self, weights: Path) -> None:
        self._portrait = next(iter(VideoReader(weights / "demo" / "portrait.jpg"))).image
        self._speech = load_waveform(weights / "demo" / "speech.m4a").samples

    def film(
        self, path: Path, n_frames: int = 30, *, rate: int = 25, face: bool = True, sound: bool = True
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
            video.width = video.height = self.SIZE
            video.pix_fmt = "yuv420p"
            audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
            for picture in self._pictures(path, n_frames, rate, face):
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(video.encode(None))
            if audio is not None:
                samples = self._speech[None, : round(n_frames / rate * 16000)]
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "mono")
                frame.sample_rate = 16000
                container.mux(audio.encode(frame))
                container.mux(audio.encode(None))
        return path

    def _pictures(self, path: Path, n_frames: int, rate: int, face: bool) -> Iterator[NDArray[np.uint8]]:
        if not face:
            yield from [np.full((self.SIZE, self.SIZE, 3), 90, np.uint8)] * n_frames
            return
        height, width = self._portrait.shape[:2]
        side = min(height, width) - 20
        film = CameraMove(
            self._portrait,
            path=path,
            first=Box(0, 0, side, side),
            last=Box(20, 20, side + 20, side + 20),
            size=(self.SIZE, self.SIZE),
            n_frames=n_frames,
            rate=Fraction(rate),
        )
        yield from (frame.image for frame in film)


@pytest.fixture(scope="session")
def filmer(weights_folder: Path) -> Filmer:
    return Filmer(weights_folder)
