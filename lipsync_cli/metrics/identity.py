"""Whether the person stays the person."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.metrics.base import RunningMean


class IdentitySimilarity:
    """Mean over frames of the cosine of two faces' features, in [-1, 1]; higher is better, 1: the same.

    Generated and real picture of the same moment. The features are a face recognition network's, whose name
    belongs beside the figure: cosines of two networks cannot be compared (in the literature: CSIM, mostly by
    ArcFace, whose weights are not free).
    """

    name: ClassVar[str] = "identity"
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = True

    def __init__(self) -> None:
        self._mean = RunningMean()

    def update(self, generated: NDArray[Any], target: NDArray[Any]) -> None:
        """Features [D] of one frame; a face without features (all 0) has a cosine of 0 with any other."""
        g, r = generated.astype(np.float64), target.astype(np.float64)
        lengths = float(np.linalg.norm(g) * np.linalg.norm(r))
        self._mean.add(float(g @ r) / lengths if lengths > 0 else 0.0)

    def compute(self) -> float:
        """Mean of the frames; NaN without any."""
        return self._mean.compute()
