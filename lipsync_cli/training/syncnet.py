"""Training of Wav2Lip's expert SyncNet_color (setup A of the paper's table 2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lipsync_cli.data.corpus import Corpus
from lipsync_cli.models.public_adapters import SyncNet, SyncNetSettings
from lipsync_cli.training.avsyncnet import SyncStage, SyncTraining
from lipsync_cli.training.compute import Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncNetTraining(SyncTraining):
    """Settings of the stage; those of Wav2Lip (BCE, Adam, 1e-4) are in configs/paper/syncnet.toml.

    Wav2Lip takes for a negative the speech of any other window of the clip; here none that overlaps.
    """

    network: SyncNetSettings = field(default_factory=SyncNetSettings)


class SyncNetStage(SyncStage):
    """SyncNet_color: both encoders end in ReLU, so its cosines lie in [0, 1]."""

    def __init__(self, corpus: Corpus, settings: SyncNetTraining, compute: Compute) -> None:
        super().__init__(
            corpus, settings, compute, build=lambda: SyncNet(settings.network), architecture="syncnet"
        )
