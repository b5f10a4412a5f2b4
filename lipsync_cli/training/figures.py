"""Figures of a face generator on prepared clips, each dubbed with its own speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipsync_cli.data.layout import FRAMES_PER_SECOND, STEPS_PER_WINDOW, Clip
from lipsync_cli.interfaces import FaceGenerator, Image
from lipsync_cli.losses.movement import mouth_window
from lipsync_cli.regions import mask_lower_half, to_image, to_network
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.compute import Compute

_BATCH = 25
_LONGEST = 500  # frames of a clip that are measured
_SILENT_FRAMES = 20


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
    lmd: float
    """Mean distance of the lip points from the real video's, crop pixels."""

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
class Talker:
    """A generator with what it takes to let it speak a prepared clip."""

    generator: nn.Module
    """A `FaceGenerator` on the device."""
    compute: Compute
    hear: Callable[[Clip, int], Tensor]
    """(clip, offset: frames that its sound is late) -> what is heard around each frame, [N, ...]."""
    silence: Tensor
    """What is heard of digital silence around one frame, [...]."""
    silenced: Callable[[Tensor], Tensor] = lambda picture: picture
    """What is done to the first reference [3, S, S] before the generator sees it (the paper: G_S)."""
    finish: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda faces: faces
    """What is done to the generated faces [N, S, S, 3] afterwards (the paper: restoration)."""

    def references(self, closed: Image, opened: Image) -> Tensor:
        """As many as the generator takes, the closed mouth first: [R, 3, S, S]."""
        first = self.silenced(to_network(closed))
        n_references = cast(FaceGenerator, self.generator).n_references
        return torch.stack([first, *[to_network(opened)] * (n_references - 1)])

    @torch.no_grad()
    def speak(self, speech: Tensor, references: Tensor, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Faces [N, S, S, 3] for speech [N, ...], one set of references [R, 3, S, S], crops of the pose."""
        self.generator.eval()
        device = self.compute.device
        pieces = []
        for start in range(0, len(crops), _BATCH):
            pose = mask_lower_half(to_network(crops[start : start + _BATCH]))
            heard = speech[start : start + _BATCH]
            shown = references[None].expand(len(pose), -1, -1, -1, -1)
            with self.compute.autocast():
                faces = self.generator(heard.to(device), shown.to(device), pose.to(device))
            pieces.append(self.finish(to_image(faces)))
        return np.concatenate(pieces)


@dataclass(frozen=True)
class Mouths:
    """What landmarks tell of N crops."""

    openings: NDArray[np.float32]
    """[N]; 0 where no face is found."""
    lips: NDArray[np.float32]
    """[N, L, 2] lip points in crop pixels; not numbers where no face is found."""


Look = Callable[[NDArray[np.uint8]], Mouths]
"""Crops [N, S, S, 3] -> where their landmarks lie."""


@dataclass(frozen=True)
class Shown:
    """Crops of a clip and its references."""

    crops: NDArray[np.uint8]
    closed: int
    opened: int


def show(clip: Clip) -> Shown:
    """The crops of a clip's first 20 s, and which of them are its references."""
    n = min(clip.n_frames, _LONGEST)
    order = np.argsort(clip.openings[:n], kind="stable")
    crops = clip.crops(list(range(n)))
    return Shown(crops, int(order[n // 12]), int(order[n - 1 - n // 16]))


def hear_embedding(clip: Clip, offset: int = 0) -> Tensor:
    """Speech embedding heard around each frame, [N, 10, 384]; offset: frames that the sound is late."""
    steps = torch.from_numpy(clip.read("speech").astype(np.float32))
    first = (torch.arange(clip.n_frames) + offset).clamp(0, clip.n_frames - 1)
    return steps[first[:, None] + torch.arange(STEPS_PER_WINDOW)]


def hear_mel(clip: Clip, offset: int = 0) -> Tensor:
    """Mel windows around each frame, [N, 1, 80, 16]; offset: frames that the sound is late."""
    times = [(frame + offset) / FRAMES_PER_SECOND for frame in range(clip.n_frames)]
    return MelWindows(clip.read("mel")).around(times)


def measure_clip(
    talker: Talker,
    clip: Clip,
    look: Look,
    *,
    offset: int = 0,
) -> FaceFigures:
    """All figures of one clip (of its first 20 s)."""
    shown = show(clip)
    crops, speech = shown.crops, talker.hear(clip, offset)[: len(shown.crops)]
    closed, opened = crops[shown.closed], crops[shown.opened]
    quiet = talker.silence[None].expand(_SILENT_FRAMES, *talker.silence.shape)
    posed = crops[:_SILENT_FRAMES]

    def silent(first: Image) -> float:
        faces = talker.speak(quiet[: len(posed)], talker.references(first, opened), posed)
        return float(look(faces).openings.mean()) / widest

    spoken = talker.speak(speech, talker.references(closed, opened), crops)
    still = talker.speak(speech, talker.references(closed, closed), crops)
    seen, seen_ours = look(crops), look(spoken)
    real, ours, ours_still = seen.openings, seen_ours.openings, look(still).openings
    widest = max(float(np.percentile(real, 95)), 1e-6)
    pasted = np.broadcast_to(closed, crops.shape)
    return FaceFigures(
        opening_r=correlation(real, ours),
        amplitude=float(ours.std() / max(real.std(), 1e-6)),
        gain_db=_lower_psnr(spoken, crops) - _lower_psnr(pasted, crops),
        sharpness=mouth_sharpness(spoken) / max(mouth_sharpness(crops), 1e-6),
        still_r=correlation(real, ours_still),
        still_amplitude=float(ours_still.std() / max(real.std(), 1e-6)),
        silent=silent(closed),
        silent_open=silent(opened),
        lmd=lip_distance(seen_ours.lips, seen.lips),
    )


def lip_distance(ours: NDArray[np.float32], real: NDArray[np.float32]) -> float:
    """Mean distance of lip points [N, L, 2], over frames where both have a face; infinity: in none."""
    apart = np.linalg.norm(ours - real, axis=2).mean(axis=1)
    return float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else float("inf")


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's r of two curves [N]; 0 where one of them does not move."""
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


def sample_sheet(talker: Talker, clips: Sequence[Clip]) -> Image | None:
    """A row of real frames for each clip, below it the generated ones; references first."""
    rows = []
    for clip in clips:
        shown = show(clip)
        crops = shown.crops
        references = talker.references(crops[shown.closed], crops[shown.opened])
        picked = np.linspace(8, len(crops) - 8, 10).astype(int)
        speech = talker.hear(clip, 0)[torch.from_numpy(picked)]
        generated = talker.speak(speech, references, crops[picked])
        seen = to_image(references)
        rows.append(np.concatenate([seen[0], *crops[picked]], axis=1))
        rows.append(np.concatenate([seen[-1], *generated], axis=1))
    return np.concatenate(rows) if rows else None
