"""Which name builds which network: the one table that checkpoints and settings files refer to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.avsyncnet import AVSyncNet, AVSyncNetSettings
from lipsync_cli.models.discriminator import Discriminator, DiscriminatorSettings
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.models.lip_predictor import LipPredictor, LipPredictorSettings
from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings
from lipsync_cli.models.public_adapters import SyncNet, SyncNetSettings
from lipsync_cli.models.warping_generator import WarpingFaceGenerator, WarpingGeneratorSettings
from lipsync_cli.settings import from_mapping

ARCHITECTURES: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "avsyncnet": (AVSyncNetSettings, AVSyncNet),
    "discriminator": (DiscriminatorSettings, Discriminator),
    "syncnet": (SyncNetSettings, SyncNet),
    "unet": (UNetSettings, UNetFaceGenerator),
    "lip_predictor": (LipPredictorSettings, LipPredictor),
    "lip_reader": (LipReaderSettings, LipReader),
    "warping_generator": (WarpingGeneratorSettings, WarpingFaceGenerator),
}
"""Name -> frozen dataclass of its numbers, network that is built from it alone."""


def build(architecture: str, settings: Mapping[str, object]) -> nn.Module:
    """The network called `architecture`, fresh, from the settings of a checkpoint or a TOML file.

    Keys left out keep the architecture's defaults. SettingsError for an unknown architecture or key (naming
    the nearest valid one) and for a value of the wrong kind.
    """
    if architecture not in ARCHITECTURES:
        near = difflib.get_close_matches(architecture, ARCHITECTURES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(sorted(ARCHITECTURES))}"
        raise SettingsError(f"unknown architecture '{architecture}': {hint}")
    kind, network = ARCHITECTURES[architecture]
    return network(from_mapping(kind, settings, architecture))
