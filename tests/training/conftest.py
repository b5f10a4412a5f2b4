"""Every stage at a size that trains in milliseconds, on a corpus of drawn faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import open_cache
from lipsync_cli.models.avsyncnet import AVSyncNet, AVSyncNetSettings
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.models.lip_predictor import LipPredictor
from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.settings import from_mapping, override
from lipsync_cli.training.avsyncnet import AVSyncNetStage, AVSyncNetTraining
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import Mouths
from lipsync_cli.training.generator import Judges
from lipsync_cli.training.lip_predictor import LipPredictorStage, LipPredictorTraining
from lipsync_cli.training.lip_reader import LipReaderStage, LipReaderTraining
from lipsync_cli.training.silent_lip import SilentLipStage, SilentLipTraining
from lipsync_cli.training.syncnet import SyncNetStage, SyncNetTraining
from lipsync_cli.training.talking_face import TalkingFaceStage, TalkingFaceTraining
from lipsync_cli.training.warping import WarpingStage, WarpingTraining
from lipsync_cli.training.warping_start import Teachers

LOOP = {"steps": 6, "warm_up": 2, "save_every": 100, "validate_every": 100}
CORPUS = {"validation_speakers": ["e"]}
SPEECH = {"widths": [4, 6], "depths": [1, 1], "strides": [2, 2], "squeeze": 2, "attention": 4, "outputs": 8}
SYNC = {
    "rectified": False,
    "lips": {
        "size": [16, 32],
        "stem_width": 4,
        "stem_kernel": 3,
        "stem_pool": 1,
        "widths": [4, 6],
        "depths": [1, 1],
        "strides": [1, 2],
        "expansion": 1,
        "pool": [2, 4],
    },
    "speech": SPEECH,
}
UNET = {"image_size": 32, "stem": 4, "widths": [4, 6, 8, 8, 8], "strides": [2, 2, 2, 2, 2], "speech": SPEECH}
PAPER = {
    "loop": LOOP,
    "corpus": CORPUS,
    "network": UNET,
    "discriminator": {"widths": [4, 6, 8, 8, 8], "strides": [2, 2, 2, 2, 2]},
    "sampling": {"n_windows": 2},
}
TINY: dict[str, dict[str, Any]] = {
    "avsyncnet": {"loop": LOOP, "corpus": CORPUS, "network": SYNC, "n_clips": 3, "n_windows": 2},
    "syncnet": {
        "loop": LOOP,
        "corpus": CORPUS,
        "network": {"narrow": 16},
        "n_clips": 2,
        "n_windows": 2,
        "loss": "bce",
    },
    "lip_reader": {
        "loop": LOOP,
        "corpus": CORPUS,
        "network": {"widths": [4, 6, 8, 10]},
        "sampling": {"n_clips": 3, "n_frames": 2},
    },
    "lip_predictor": {
        "loop": LOOP,
        "corpus": CORPUS,
        "network": {"width": 8, "n_networks": 2},
        "n_clips": 3,
        "n_frames": 20,
    },
    "warping": {
        "loop": LOOP,
        "corpus": CORPUS,
        "network": {
            "image_size": 32,
            "widths": [4, 6, 8],
            "bottleneck_depth": 1,
            "speech": {"step_width": 8, "width": 16, "outputs": 8},
        },
        "discriminator": {"widths": [4, 6, 8]},
        "sampling": {"n_clips": 2, "n_frames": 3},
        "adversarial_from": 2,
    },
    "gs": PAPER,
    "gl": PAPER,
}


def dark_mouth(crops: NDArray[np.uint8]) -> Mouths:
    """How high the dark part of a drawn face's mouth is, over the face's side, and its ends."""
    half = crops.shape[1] // 2
    column = crops[:, half:, half - 1 : half + 1].mean(axis=(2, 3))
    dark = (column < 80).sum(axis=1).astype(np.float32)
    ends = np.stack([np.full(len(dark), half), 0.75 * crops.shape[1] + dark / 2], axis=1)
    return Mouths(dark / crops.shape[1], ends[:, None].astype(np.float32))


class Maps(nn.Module):
    """Five maps of a picture, as a VGG gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, 2, 1) for i in range(5))
        self.n_calls = 0

    def forward(self, pictures: Tensor) -> list[Tensor]:
        self.n_calls += 1
        maps = [pictures]
        for layer in self.layers:
            maps.append(torch.relu(layer(maps[-1])))
        return maps[1:]


class Stages:
    """Builds stages anew, each time alike."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def build(
        self,
        name: str,
        *changes: str,
        compute: Compute | None = None,
        predictor: LipPredictor | None = None,
    ) -> Any:
        kinds = {
            "avsyncnet": AVSyncNetTraining,
            "syncnet": SyncNetTraining,
            "lip_reader": LipReaderTraining,
            "lip_predictor": LipPredictorTraining,
            "warping": WarpingTraining,
            "gs": SilentLipTraining,
            "gl": TalkingFaceTraining,
        }
        settings: Any = from_mapping(kinds[name], override(TINY[name], changes), "test")
        corpus = Corpus(open_cache(self.cache)[1], settings.corpus)
        compute = compute or Compute()
        if name == "avsyncnet":
            return AVSyncNetStage(corpus, settings, compute)
        if name == "syncnet":
            return SyncNetStage(corpus, settings, compute)
        if name == "lip_reader":
            return LipReaderStage(corpus, settings, compute)
        if name == "lip_predictor":
            torch.manual_seed(1)
            return LipPredictorStage(corpus, settings, compute, embedding=SpeechEmbedding())
        torch.manual_seed(1)
        sync = AVSyncNet(from_mapping(AVSyncNetSettings, SYNC, "test"))
        if name == "warping":
            torch.manual_seed(1)
            teachers = Teachers(
                reader=LipReader(LipReaderSettings(widths=(4, 6, 8, 10))),
                embedding=SpeechEmbedding(),
                sync_network=sync if settings.coefficients.sync else None,
                predictor=predictor,
            )
            return WarpingStage(corpus, settings, compute, teachers=teachers, look=dark_mouth)
        judges = Judges(sync, Maps())
        if name == "gs":
            return SilentLipStage(corpus, settings, compute, judges=judges, look=dark_mouth)
        silent_lip = UNetFaceGenerator(from_mapping(UNetSettings, UNET, "test"))
        return TalkingFaceStage(
            corpus, settings, compute, judges=judges, look=dark_mouth, silent_lip=silent_lip
        )


@pytest.fixture
def stages(draw_corpus: Callable[..., Any]) -> Stages:
    return Stages(draw_corpus().folder)
