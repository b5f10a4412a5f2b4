"""Figures of a face generator on prepared clips, each dubbed with its own speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipsync_cli.data.layout import STEPS_PER_WINDOW, Clip
from lipsync_cli.interfaces import Image
from lipsync_cli.losses.movement import mouth_window
from lipsync_cli.regions import mask_lower_half, to_image, to_network

_BATCH = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceFigures:
    """What lips do, measured on crops by landmarks."""

    opening_r: float
    """Correlation of the mouth opening with the real video's."""
    amplitude: float
    """Standard deviation of the opening, generated over real."""
    gain_db: float
    """PSNR of the lower half less that of pasting the closed reference, dB."""
    sharpness: float
    """Variance of the Laplacian of the mouth, generated over real."""
    still_r: float
    """opening_r with the closed reference in both places: a still image."""
    still_amplitude: float
    """amplitude of that still image."""
    silent: float
    """Opening when hearing silence over the real open mouth (95th percentile)."""
    silent_open: float
    """The same with an open mouth as the closed reference."""

    @staticmethod
    def mean(all_figures: Sequence[FaceFigures]) -> dict[str, float]:
        """Mean of each figure; empty for no clips."""
        if not all_figures:
            return {}
        return {
            field.name: float(np.mean([getattr(one, field.name) for one in all_figures]))
            for field in fields(FaceFigures)
        }


@dataclass(frozen=True)
class _Shown:
    """Crops of a clip and its references."""

    crops: NDArray[np.uint8]
    closed: int
    opened: int


def _show(clip: Clip) -> _Shown:
    order = np.argsort(clip.openings, kind="stable")
    n = len(order)
    crops = clip.crops(list(range(clip.n_frames)))
    return _Shown(crops, int(order[n // 12]), int(order[n - 1 - n // 16]))


def own_speech(clip: Clip, offset: int = 0) -> Tensor:
    """Speech embedding heard around each frame, [N, 10, 384]; offset: frames that the sound is late."""
    steps = torch.from_numpy(clip.read("speech").astype(np.float32))
    first = (torch.arange(clip.n_frames) + offset).clamp(0, clip.n_frames - 1)
    return steps[first[:, None] + torch.arange(STEPS_PER_WINDOW)]


@torch.no_grad()
def speak(
    generator: nn.Module, speech: Tensor, references: Tensor, crops: NDArray[np.uint8], dtype: torch.dtype
) -> NDArray[np.uint8]:
    """Faces [N, S, S, 3] for speech [N, 10, 384], one pair of references [2, 3, S, S] and crops of the pose."""
    pieces = []
    for start in range(0, len(crops), _BATCH):
        pose = mask_lower_half(to_network(crops[start : start + _BATCH]))
        heard = speech[start : start + _BATCH]
        pairs = references[None].expand(len(pose), -1, -1, -1, -1)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            pieces.append(to_image(generator(heard, pairs, pose)))
    return np.concatenate(pieces)


def measure_clip(
    generator: nn.Module,
    clip: Clip,
    openings: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    *,
    offset: int,
    dtype: torch.dtype,
) -> FaceFigures:
    """All figures of one clip; openings: crops -> mouth openings by landmarks."""
    shown = _show(clip)
    crops, speech = shown.crops, own_speech(clip, offset)
    closed, opened = to_network(crops[[shown.closed]])[0], to_network(crops[[shown.opened]])[0]
    spoken = speak(generator, speech, torch.stack([closed, opened]), crops, dtype)
    still = speak(generator, speech, torch.stack([closed, closed]), crops, dtype)
    quiet = silence_of(clip)[None].expand(len(crops), -1, -1)
    silent = speak(generator, quiet[:20], torch.stack([closed, opened]), crops[:20], dtype)
    silent_open = speak(generator, quiet[:20], torch.stack([opened, opened]), crops[:20], dtype)
    real, ours, ours_still = openings(crops), openings(spoken), openings(still)
    widest = float(np.percentile(real, 95))
    pasted = np.broadcast_to(crops[shown.closed], crops.shape)
    return FaceFigures(
        opening_r=_correlation(real, ours),
        amplitude=float(ours.std() / max(real.std(), 1e-6)),
        gain_db=_lower_psnr(spoken, crops) - _lower_psnr(pasted, crops),
        sharpness=mouth_sharpness(spoken) / max(mouth_sharpness(crops), 1e-6),
        still_r=_correlation(real, ours_still),
        still_amplitude=float(ours_still.std() / max(real.std(), 1e-6)),
        silent=float(openings(silent).mean()) / max(widest, 1e-6),
        silent_open=float(openings(silent_open).mean()) / max(widest, 1e-6),
    )


def silence_of(clip: Clip) -> Tensor:
    """What the generator hears of digital silence [10, 384]: the steps past the clip's own end are not there,
    so the quietest window of the clip stands for it."""
    steps = clip.read("speech").astype(np.float32)
    log_mel = clip.read("log_mel")
    loudness = [float(log_mel[4 * i : 4 * i + 40].mean()) for i in range(clip.n_frames)]
    first = int(np.argmin(loudness))
    return torch.from_numpy(steps[first : first + STEPS_PER_WINDOW])


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.std() < 1e-6 or second.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _lower_psnr(generated: NDArray[np.uint8], real: NDArray[np.uint8]) -> float:
    half = real.shape[1] // 2
    error = generated[:, half:].astype(np.float32) - real[:, half:].astype(np.float32)
    return float(10 * np.log10(255.0**2 / max(float((error**2).mean()), 1e-6)))


def mouth_sharpness(crops: NDArray[np.uint8]) -> float:
    """Mean variance of the Laplacian of the grey mouth window, crops [N, S, S, 3]."""
    rows, columns = mouth_window(crops.shape[1])
    greys = (cv2.cvtColor(np.ascontiguousarray(crop[rows, columns]), cv2.COLOR_RGB2GRAY) for crop in crops)
    return float(np.mean([cv2.Laplacian(grey, cv2.CV_64F).var() for grey in greys]))


def sample_sheet(generator: nn.Module, clips: Sequence[Clip], *, dtype: torch.dtype) -> Image:
    """For each clip a row of real frames and below it the generated ones; references first."""
    rows = []
    for clip in clips:
        shown = _show(clip)
        pair = to_network(shown.crops[[shown.closed, shown.opened]])
        picked = np.linspace(8, clip.n_frames - 8, 10).astype(int)
        speech = own_speech(clip)[torch.from_numpy(picked)]
        generated = speak(generator, speech, pair, shown.crops[picked], dtype)
        for name, faces in (("closed", shown.crops[picked]), ("opened", generated)):
            rows.append(np.concatenate([shown.crops[getattr(shown, name)], *faces], axis=1))
    return np.concatenate(rows)
