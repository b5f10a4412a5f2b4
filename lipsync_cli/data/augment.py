"""Random changes of pictures and voices, so that a few speakers stand for many.

Every function takes its randomness from a generator that the caller seeds: the same seed, the same sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureAugmentation:
    """How far pictures are changed. All frames of one sample are changed alike: a pseudo identity."""

    rotation: float = 8.0
    """Degrees, at most."""
    scale: float = 0.1
    """Largest change of the size."""
    shift: float = 0.04
    """Largest shift over the picture's side."""
    warp: float = 0.025
    """Standard deviation of a smooth distortion over the picture's side."""
    colour: float = 0.15
    """Standard deviation of the logarithm of each channel's gain and of the gamma."""
    mirror: bool = True
    """Half of the samples are mirrored."""

    @property
    def moves(self) -> bool:
        """False: every pixel stays in its place."""
        return self.mirror or any((self.rotation, self.scale, self.shift, self.warp))


def random_grid(rng: np.random.Generator, size: int, amount: PictureAugmentation) -> Tensor:
    """A sampling grid [size, size, 2] for grid_sample (align_corners=False): where each pixel comes from."""
    angle = np.deg2rad(rng.uniform(-amount.rotation, amount.rotation))
    scale = np.exp(rng.uniform(-amount.scale, amount.scale, size=2))
    cosine, sine = np.cos(angle), np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]]) * scale
    if amount.mirror and rng.random() < 0.5:
        linear[:, 0] *= -1
    shift = 2 * rng.uniform(-amount.shift, amount.shift, size=2)
    matrix = torch.tensor(np.concatenate([linear, shift[:, None]], axis=1), dtype=torch.float32)
    grid: Tensor = F.affine_grid(matrix[None], [1, 3, size, size], align_corners=False)[0]
    if amount.warp:
        coarse = torch.tensor(rng.normal(0, 2 * amount.warp, size=(1, 2, 4, 4)), dtype=torch.float32)
        smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
        grid = grid + smooth[0].permute(1, 2, 0)
    return grid


def sample_grid(pictures: Tensor, grids: Tensor) -> Tensor:
    """pictures [C, F, 3, H, W], one grid for each of C samples [C, h, w, 2] -> warped, [C, F, 3, h, w]."""
    n_samples, n_frames = pictures.shape[:2]
    stacked = pictures.reshape(n_samples, n_frames * 3, *pictures.shape[-2:])
    warped = F.grid_sample(stacked, grids, padding_mode="reflection", align_corners=False)
    return warped.reshape(*pictures.shape[:3], *grids.shape[1:3])


def move_points(points: Tensor, grid: Tensor) -> Tensor:
    """Where points [N, 2] (x, y in [-1, 1]) go under a grid [H, W, 2]; the grid's inverse, by iteration."""
    moved = points.clone()
    field = grid.permute(2, 0, 1)[None]
    for _ in range(8):
        reached = F.grid_sample(field, moved[None, None], padding_mode="border", align_corners=False)
        miss = points - reached[0, :, 0].T
        # The grid may mirror: step against the local sign of each axis.
        sign = torch.tensor(
            [torch.sign(grid[0, -1, 0] - grid[0, 0, 0]), torch.sign(grid[-1, 0, 1] - grid[0, 0, 1])]
        )
        moved = moved + miss * sign
    return moved


@dataclass(frozen=True, slots=True)
class Colour:
    """A change of colours that all frames of a sample share."""

    gain: Tensor
    """[3]"""
    gamma: float
    lift: float

    @classmethod
    def draw(cls, rng: np.random.Generator, amount: float) -> Colour:
        """A random one; amount 0 changes nothing."""
        common = rng.normal(0, amount)
        gain = np.exp(common + rng.normal(0, 0.6 * amount, size=3))
        return cls(
            torch.tensor(gain, dtype=torch.float32),
            float(np.exp(rng.normal(0, amount))),
            float(rng.normal(0, 0.2 * amount)),
        )

    def apply(self, pictures: Tensor) -> Tensor:
        """[..., 3, H, W] in [0, 1] -> the same shape, in [0, 1]."""
        changed = pictures.clamp(1e-4, 1).pow(self.gamma) * self.gain[:, None, None] + self.lift
        return changed.clamp(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceAugmentation:
    """How far a log mel spectrogram is changed, so that one voice sounds like many."""

    probability: float = 0.8
    """Share of the samples that are changed at all."""
    tract: float = 0.22
    """Largest logarithm of the stretch of the mel axis (vocal tract length)."""
    equaliser: float = 5.0
    """dB, standard deviation of a smooth gain over frequency."""
    gain: float = 8.0
    """dB, standard deviation of the loudness."""
    noise: float = 45.0
    """dB: noise lies at most this far below the loudest value; drawn between 15 dB and this."""
    smear: float = 0.5
    """Largest share of a column that rings on into the next one (a room)."""


def augment_voice(
    log_mel: NDArray[np.float32],
    rng: np.random.Generator,
    amount: VoiceAugmentation,
    *,
    per_decibel: float,
    floor: float,
) -> NDArray[np.float32]:
    """Change a log mel spectrogram [bins, T]; per_decibel: its units in one dB, floor: its silence."""
    if rng.random() >= amount.probability:
        return log_mel
    bins = log_mel.shape[0]
    changed = _stretch_bins(log_mel, float(np.exp(rng.uniform(-amount.tract, amount.tract))))
    curve = np.interp(np.linspace(0, 5, bins), np.arange(6), rng.normal(0, amount.equaliser, size=6))
    changed = changed + per_decibel * (curve[:, None] + rng.normal(0, amount.gain))
    if rng.random() < 0.4:
        changed = _ring(changed, rng.uniform(0.1, amount.smear), per_decibel)
    if rng.random() < 0.6:
        changed = _add_noise(changed, rng, amount.noise, per_decibel)
    return np.maximum(changed, floor).astype(np.float32)


def _stretch_bins(log_mel: NDArray[np.float32], factor: float) -> NDArray[np.float64]:
    bins = np.arange(log_mel.shape[0])
    places = np.clip(bins * factor, 0, bins[-1])
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, bins[-1])
    share = (places - low)[:, None]
    stretched: NDArray[np.float64] = log_mel[low] * (1 - share) + log_mel[high] * share
    return stretched


def _ring(log_mel: NDArray[np.float64], share: float, per_decibel: float) -> NDArray[np.float64]:
    """Let every column ring on into the following ones, falling by `share` in power from one to the next."""
    power = np.power(10.0, log_mel / (10 * per_decibel))
    for column in range(1, power.shape[1]):
        power[:, column] += share * power[:, column - 1]
    rung: NDArray[np.float64] = 10 * per_decibel * np.log10(np.maximum(power, 1e-20))
    return rung


def _add_noise(
    log_mel: NDArray[np.float64], rng: np.random.Generator, deepest: float, per_decibel: float
) -> NDArray[np.float64]:
    """Add steady coloured noise, between 15 dB and `deepest` dB below the loudest value."""
    bins = log_mel.shape[0]
    level = log_mel.max() - per_decibel * rng.uniform(15, deepest)
    colour = np.interp(np.linspace(0, 3, bins), np.arange(4), rng.normal(0, 4, size=4)) * per_decibel
    ripple = rng.normal(0, 2 * per_decibel, size=log_mel.shape)
    noise = level + colour[:, None] + ripple
    scale = 10 * per_decibel
    louder: NDArray[np.float64] = scale * np.logaddexp(log_mel / scale * _LN10, noise / scale * _LN10) / _LN10
    return louder


_LN10 = float(np.log(10))
