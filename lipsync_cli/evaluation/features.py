"""Features of face crops, clip by clip, for the distances between all generated and all real pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.evaluation.sync import WINDOW, SyncEmbedder
from lipsync_cli.interfaces import Image
from lipsync_cli.metrics.base import Summary
from lipsync_cli.metrics.image import FrechetDistance
from lipsync_cli.regions import to_network

_HELD = 6 * WINDOW  # pictures

Floats = NDArray[np.float32]
ClipFeatures = Mapping[str, tuple[Floats, Floats]]
"""Name of the distance -> features [n, D] of the generated and of the real pictures of a clip."""


class FeatureNetwork(Protocol):
    """What turns crops into features."""

    def __call__(self, crops: NDArray[np.uint8]) -> Floats:
        """Consecutive crops [N, S, S, 3] (N a multiple of 5 but at a clip's end) -> features [n, D]."""
        ...


class PictureFeatures:
    """Every crop by itself, whole: FID's way."""

    def __init__(self, network: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._network, self._device = network, device

    def __call__(self, crops: NDArray[np.uint8]) -> Floats:
        """[N, S, S, 3] -> [N, D]."""
        with torch.inference_mode():
            features = self._network(to_network(crops).to(self._device))
        return np.asarray(features.float().cpu().numpy())


class LipsFeatures:
    """The lower halves of every five crops, as a sync network sees them; needs no Inception."""

    def __init__(self, network: SyncEmbedder, device: torch.device) -> None:
        self._network, self._device = network, device

    def __call__(self, crops: NDArray[np.uint8]) -> Floats:
        """[N, S, S, 3] -> [N // 5, D]."""
        n_windows = len(crops) // WINDOW
        lower = crops[: n_windows * WINDOW, crops.shape[1] // 2 :]
        if n_windows == 0:
            return np.zeros((0, 0), np.float32)
        lips = to_network(lower.reshape(n_windows, WINDOW, *lower.shape[1:])).to(self._device)
        with torch.inference_mode():
            return np.asarray(self._network.embed_lips(lips).float().cpu().numpy())


class FeatureCollector:
    """Gathers the features of one clip, holding no more than 30 pictures of either video."""

    def __init__(self, networks: Mapping[str, FeatureNetwork]) -> None:
        self._networks = networks
        self._held: list[tuple[Image, Image]] = []
        self._features: dict[str, list[tuple[Floats, Floats]]] = {name: [] for name in networks}

    def update(self, generated: Image, real: Image) -> None:
        """The next crops [S, S, 3]."""
        if not self._networks:
            return
        self._held.append((generated, real))
        if len(self._held) == _HELD:
            self._flush()

    def interrupt(self) -> None:
        """The next crop does not follow the last one."""
        self._flush()

    def compute(self) -> ClipFeatures:
        """All features of the clip."""
        self._flush()
        found = {}
        for name, parts in self._features.items():
            sides = [[part[side] for part in parts if len(part[side])] for side in (0, 1)]
            if all(sides):
                found[name] = (np.concatenate(sides[0]), np.concatenate(sides[1]))
        return found

    def _flush(self) -> None:
        if self._held:
            sides = [np.stack([pair[side] for pair in self._held]) for side in (0, 1)]
            for name, network in self._networks.items():
                self._features[name].append((network(sides[0]), network(sides[1])))
            self._held.clear()


class Distances:
    """Fréchet distances between all generated and all real pictures of a run, in constant memory."""

    def __init__(self) -> None:
        self._metrics: dict[str, FrechetDistance] = {}
        self._n_clips: dict[str, int] = {}

    def update(self, features: ClipFeatures) -> None:
        """The features of one clip."""
        for name, (generated, real) in features.items():
            if name not in self._metrics:
                self._metrics[name] = FrechetDistance(generated.shape[1])
            self._metrics[name].update(generated.astype(np.float64), real.astype(np.float64))
            self._n_clips[name] = self._n_clips.get(name, 0) + 1

    def compute(self) -> dict[str, Summary]:
        """Name -> the distance. It is one number of the whole run: it has no interval over clips (NaN)."""
        nan = float("nan")
        values = {name: metric.compute() for name, metric in self._metrics.items()}
        return {
            name: Summary(value, value, nan, nan, self._n_clips[name])
            for name, value in values.items()
            if np.isfinite(value)
        }
