"""Restoration networks behind the `Restorer` protocol: their pictures, their template, their device."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from lipsync_cli.device import Execution
from lipsync_cli.interfaces import FaceTemplate
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2

FFHQ_TEMPLATE = FaceTemplate(
    512,
    (
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ),
)
"""Of VQFR and GFPGAN (facexlib, face_restoration_helper.py); both are trained on FFHQ at 512 pixels."""

_ARCFACE = (
    (30.2946, 51.6963),
    (65.5318, 51.5014),
    (48.0252, 71.7366),
    (33.5493, 92.3655),
    (62.7299, 92.2041),
)
"""Five points in a picture of 96 x 112."""
_GPEN_SCALE = 512 / (112 * 1.5)
GPEN_TEMPLATE = FaceTemplate(
    512, tuple(((x + 8 + 28) * _GPEN_SCALE, (y + 28) * _GPEN_SCALE) for x, y in _ARCFACE)
)
"""Of GPEN (align_faces.py): made square (8 to each side), a quarter of its 112 added all around, enlarged."""


class NetworkRestorer:
    """A `Restorer` of aligned faces that runs VQFR, GFPGAN or GPEN.

    Args:
        network: with RGB in [-1, 1] on both sides.
        execution: where and in what it runs; it is placed there.
        fidelity: for VQFR v2: 0 takes the sharpest texture, 1 stays nearest to the face; others have none.
    """

    scale = 1

    def __init__(self, network: nn.Module, execution: Execution, *, fidelity: float = 0.5) -> None:
        self.template: FaceTemplate | None = GPEN_TEMPLATE if isinstance(network, GPEN) else FFHQ_TEMPLATE
        self._execution = execution
        fitted = _WithFidelity(network, fidelity) if isinstance(network, VQFRv2) else network
        self._network = execution.place(fitted)

    def __call__(self, faces: Tensor) -> Tensor:
        """faces [B, 3, 512, 512] in [0, 1], aligned to the template -> the same shape and range."""
        output = self._execution.run(self._network, faces * 2 - 1)
        return ((output + 1) / 2).clamp(0, 1)


class _WithFidelity(nn.Module):
    def __init__(self, network: VQFRv2, fidelity: float) -> None:
        super().__init__()
        self.network = network
        self.fidelity = fidelity

    def forward(self, faces: Tensor) -> Tensor:
        return cast(Tensor, self.network(faces, fidelity_ratio=self.fidelity))
