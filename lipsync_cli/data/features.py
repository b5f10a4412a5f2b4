"""Features of speech that another network made beforehand, one file for each clip (setup C: Wav2Vec2).

FOLDER/SPEAKER/CLIP.npy   float [T, width] of the clip of that name, step k centred on (k + 0.5) / rate s
FOLDER/silence.npy        float [T, width] of digital silence
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.errors import DataError, SettingsError

_FRAME_CENTRE = 0.5 / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFiles:
    """Where features lie."""

    folder: str | None = None
    """Of files SPEAKER/CLIP.npy and silence.npy (see data/features.py)."""
    rate: float = 50.0
    """Steps a second; 50 in Wav2Vec2."""


class Features:
    """Windows of steps around frames. Past either end: silence.

    Raises SettingsError when no folder is named; DataError for files that are missing or of another width.
    """

    def __init__(self, files: FeatureFiles, n_steps: int, width: int) -> None:
        if files.folder is None:
            raise SettingsError(
                "network.listens = 'features' needs features.folder: a folder of SPEAKER/CLIP.npy [T, "
                f"{width}] for each clip of the cache, and silence.npy"
            )
        self._folder = Path(files.folder).expanduser()
        self._rate = files.rate
        self._n_steps = n_steps
        self._width = width

    def around(self, clip: Clip, frames: Sequence[int]) -> Tensor:
        """[len(frames), n_steps, width]: the steps whose middle is nearest to the middle of each frame."""
        steps = self._read(Path(clip.speaker) / f"{clip.name}.npy")
        centres = np.asarray(frames) / FRAMES_PER_SECOND + _FRAME_CENTRE
        first = np.floor(centres * self._rate - self._n_steps / 2 + 0.5).astype(int)
        index = first[:, None] + np.arange(self._n_steps)
        inside = (index >= 0) & (index < len(steps))
        found = steps[index.clip(0, len(steps) - 1)]
        return torch.from_numpy(np.where(inside[..., None], found, self._quiet).astype(np.float32))

    def silence(self) -> Tensor:
        """[n_steps, width]"""
        return torch.from_numpy(np.tile(self._quiet, (self._n_steps, 1)).astype(np.float32))

    @cached_property
    def _quiet(self) -> NDArray[np.float32]:
        """A step of silence, from the middle of the file: [width]."""
        steps = self._read(Path("silence.npy"))
        quiet: NDArray[np.float32] = steps[len(steps) // 2]
        return quiet

    def _read(self, name: Path) -> NDArray[np.float32]:
        path = self._folder / name
        try:
            steps: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: features cannot be read ({error}): make them for all clips") from error
        if steps.ndim != 2 or steps.shape[1] != self._width or len(steps) == 0:
            shape = " x ".join(map(str, steps.shape))
            raise DataError(f"{path}: features of {shape}, not T x network.features.width = {self._width}")
        return steps
