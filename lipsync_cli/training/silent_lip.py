"""Training of G_S, the silent-lip generator (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipsync_cli.errors import SettingsError
from lipsync_cli.losses.total import SILENT_LIP, Coefficients
from lipsync_cli.training.generator import GeneratorStage, GeneratorTraining


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentLipTraining(GeneratorTraining):
    """Settings of the stage; the paper's are in configs/paper/silent_lip.toml."""

    coefficients: Coefficients = SILENT_LIP
    """Of eq. 5. No sync and no triplet loss: so silence closes the lips."""

    def __post_init__(self) -> None:
        GeneratorTraining.__post_init__(self)
        unknown = [name for name in ("sync", "triplet") if getattr(self.coefficients, name)]
        if unknown:
            raise SettingsError(
                f"coefficients.{unknown[0]} must be 0 for the silent-lip generator (paper, section 3.2)"
            )


class SilentLipStage(GeneratorStage):
    """A `Stage`: L_GAN, L_pixel and L_per, identity references as they are, the frames' own speech."""

    file_name = "silent_lip.safetensors"

    def identity(self, pictures: Tensor) -> Tensor:
        """The references as they are."""
        return pictures
