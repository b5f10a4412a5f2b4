"""A small world of drawn faces: the mouth is a black bar as high as the speech is loud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from lipsync_cli.interfaces import Box, Detection, Frame, Image, Landmarks
from lipsync_cli.media.writer import VideoWriter

WIDTH, HEIGHT, RATE = 160, 128, 25
FACE = (40, 14, 120, 114)  # left, top, right, bottom
MOUTH = (80, 92)  # middle
WIDEST = 20  # pixels


def loudness(n_frames: int, seed: int = 0) -> np.ndarray:
    """[n] in [0, 1]: how loud each frame's speech is, and how open its mouth."""
    random = np.random.default_rng(seed)
    rough = np.convolve(random.uniform(0, 1, n_frames + 4), np.full(3, 1 / 3), mode="same")[2:-2]
    return np.asarray((rough - rough.min()) / (rough.max() - rough.min()))


def draw(opening: float, *, face: bool = True, sway: float = 0.0) -> Image:
    """A picture with (or without) a face, its mouth open by a share [0, 1] of `WIDEST` pixels."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    if not face:
        return image
    left, top, right, bottom = FACE
    rows, columns = np.mgrid[top:bottom, left:right]
    texture = 190 + 25 * np.sin(columns / 2.3) * np.cos(rows / 3.1) + sway
    image[top:bottom, left:right] = np.clip(texture, 0, 255).astype(np.uint8)[..., None]
    x, y = MOUTH
    image[y - 16 : y + 16, x - 14 : x + 14] = 240
    half = opening * WIDEST / 2
    for row in range(y - 16, y + 16):  # the bar's edges are mixed, so that its height is not a whole number
        covered = np.clip(half + 0.5 - abs(row - y), 0, 1)
        image[row, x - 10 : x + 10] = round(240 * (1 - covered))
    return image


class DrawnFace:
    """Detector and landmark finder of drawn faces."""

    reach = 1.0
    pixels = 10_000

    def detect(self, image: Image) -> list[Detection]:
        return [Detection(Box(*FACE), 0.9)] if _has_face(image) else []

    def find(self, image: Image, box: Box) -> Landmarks | None:
        left, top, right, bottom = FACE
        x, y = MOUTH
        column = image[y - 14 : y + 14, x - 6 : x + 6].astype(np.float64).mean(axis=(1, 2))
        height = float((1 - column / 240).clip(0, 1).sum())
        points = np.full((468, 2), (x, y), np.float32)
        places = {
            10: (x, top),
            152: (x, bottom),
            234: (left, 50),
            454: (right, 50),
            1: (x, 66),
            2: (x, 72),
            98: (x - 8, 72),
            327: (x + 8, 72),
            33: (54, 50),
            133: (68, 50),
            362: (92, 50),
            263: (106, 50),
            13: (x, y - height / 2),
            14: (x, y + height / 2),
            61: (x - 12 + height / 10, y),
            291: (x + 12 - height / 10, y),
        }
        for index, place in places.items():
            points[index] = place
        return Landmarks(points, "mesh468", 0.95 if _has_face(image) else 0.05)


def _has_face(image: Image) -> bool:
    return image.shape[:2] == (HEIGHT, WIDTH) and float(image[20:60, 50:110].mean()) > 120


class LoudnessScorer:
    """A `SyncScorer` of the drawn world: an open mouth goes with loud speech."""

    lips_size = (48, 96)

    def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
        return 1 - (_dark(lips) - _loud(mel)).abs()


class EmbeddingLoudnessScorer(LoudnessScorer):
    """The same taste as unit vectors."""

    def embed_lips(self, lips: Tensor) -> Tensor:
        return _on_a_circle(_dark(lips))

    def embed_speech(self, mel: Tensor) -> Tensor:
        return _on_a_circle(_loud(mel))

    def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
        return (self.embed_lips(lips) * self.embed_speech(mel)).sum(dim=1)


def _dark(lips: Tensor) -> Tensor:
    """How open the mouths of [B, 5, 3, h, w] are, about [0, 1]."""
    dark = (lips < 0.3).float().mean(dim=(1, 2, 3, 4))
    return dark * 10 - 1.63


def _loud(mel: Tensor) -> Tensor:
    """How loud [B, 1, 80, 16] is, about [0, 1] (the loudest of 80 bands goes with the level in dB)."""
    level: Tensor = mel.amax(dim=2).mean(dim=(1, 2))
    return level * 0.316 + 0.228


def _on_a_circle(value: Tensor) -> Tensor:
    angle = value.clamp(-0.5, 1.5) * 2
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def sound_of(levels: np.ndarray, rate: int = 16000) -> np.ndarray:
    """A tone whose level in dB goes with [n] levels at 25 a second: 40 dB from 0 to 1."""
    each = rate // RATE
    smooth = np.repeat(levels, each)
    gain = 10 ** (-(1 - smooth) * 40 / 20)
    return np.asarray(0.5 * gain * np.sin(2 * np.pi * 700 * np.arange(len(smooth)) / rate), dtype=np.float32)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), dtype=np.uint8)


class World:
    """What the tests of this folder work with."""

    faces = DrawnFace()
    scorer = LoudnessScorer()
    embedding_scorer = EmbeddingLoudnessScorer()
    loudness = staticmethod(loudness)
    sound_of = staticmethod(sound_of)
    blurred = staticmethod(blurred)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def film(
        self,
        name: str,
        openings: Sequence[float] | np.ndarray,
        *,
        sound: np.ndarray | None = None,
        hidden: Sequence[int] = (),
        change: Callable[[Image], Image] | None = None,
        rate: int = RATE,
    ) -> Path:
        """Writes a video of drawn faces and returns its path."""
        path, speech = self.folder / f"{name}.mp4", None
        path.parent.mkdir(parents=True, exist_ok=True)
        if sound is not None:
            speech = path.with_suffix(".wav")
            soundfile.write(speech, sound, 16000)
        pictures = [
            draw(opening, face=index not in hidden, sway=8 * np.sin(index / 4))
            for index, opening in enumerate(openings)
        ]
        pictures = [change(picture) if change else picture for picture in pictures]
        height, width = pictures[0].shape[:2]
        options = {"width": width, "height": height, "rate": Fraction(rate), "speech": speech}
        with VideoWriter(path, **options, crf=8, preset="ultrafast") as writer:
            for index, picture in enumerate(pictures):
                writer.write(Frame(index, index / rate, picture))
        if speech is not None:
            speech.unlink()
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
