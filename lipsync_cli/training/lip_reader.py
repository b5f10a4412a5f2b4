"""Training of the lip reader: lower half of a face -> lip points (the landmarks of the preparation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.face_samples import FaceSampling, draw_face_batch
from lipsync_cli.data.samples import Tensors
from lipsync_cli.interfaces import Image
from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings
from lipsync_cli.regions import lower_half, resize, to_network
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import correlation
from lipsync_cli.training.film import Film
from lipsync_cli.training.loop import LoopSettings, rate_share, set_rate

LIPS_SIZE = (48, 96)
"""Height and width of the lower halves that the reader takes; others are resized."""
_LONGEST = 500  # frames of a clip that are measured
_INNER = (35, 25)  # places of the inner lips' middle points (mesh468 13 and 14) among the lip points


@dataclass(frozen=True, slots=True, kw_only=True)
class LipReaderTraining:
    """Settings of the stage."""

    loop: LoopSettings = field(default_factory=lambda: LoopSettings(steps=600, validate_every=300))
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: LipReaderSettings = field(default_factory=LipReaderSettings)
    picture: PictureAugmentation = field(
        default_factory=lambda: PictureAugmentation(rotation=12.0, warp=0.03)
    )
    sampling: FaceSampling = field(default_factory=lambda: FaceSampling(n_clips=24, n_frames=2))
    rate: float = 2e-3
    """Learning rate of AdamW."""


@dataclass(frozen=True)
class LipBatch(Tensors):
    """B lower halves."""

    lips: Tensor
    """[B, 3, 48, 96] in [0, 1]."""
    points: Tensor
    """[B, 40, 2] over the face's side, (0, 0) in the middle of the lower half."""


class LipReaderStage:
    """A `Stage`: L1 between read and real points, on pictures blurred and disturbed as generated ones are."""

    def __init__(self, corpus: Corpus, settings: LipReaderTraining, compute: Compute) -> None:
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.compute = compute
        self.reader = compute.place(LipReader(settings.network))
        self.networks: Mapping[str, nn.Module] = {"lip_reader": self.reader}
        self.optimizer = torch.optim.AdamW(self.reader.parameters(), lr=settings.rate, weight_decay=1e-3)
        self.optimizers = {"lip_reader": self.optimizer}

    def draw(self, step: int) -> LipBatch:
        """References and targets of a face batch."""
        rng = step_rng(self.settings.loop.seed, step)
        batch = draw_face_batch(
            self.corpus,
            rng,
            self.settings.sampling,
            picture=self.settings.picture,
            voice=VoiceAugmentation(probability=0.0),
        )
        pictures = torch.cat([batch.references, batch.targets], dim=1).flatten(0, 1)
        points = torch.cat([batch.reference_lips, batch.lips], dim=1).flatten(0, 1)
        return LipBatch(resize(lower_half(disturb(pictures, rng)), LIPS_SIZE), points)

    def train(self, batch: LipBatch, step: int) -> dict[str, float]:
        """One step of AdamW."""
        batch = batch.to(self.compute.device)
        set_rate(self.optimizer, self.settings.rate * rate_share(step, self.settings.loop))
        self.reader.train()
        with self.compute.autocast():
            read = self.reader(batch.lips)
        loss = (read - batch.points).abs().mean()
        self.compute.update(loss, self.optimizer)
        return {"points": float(loss.detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Correlation of the read opening with the landmarks', over each validation clip."""
        self.reader.eval()
        correlations = []
        for clip in self.corpus.validation:
            n_frames = min(clip.n_frames, _LONGEST)
            crops = to_network(clip.crops(list(range(n_frames))))
            read = self.reader(resize(lower_half(crops), LIPS_SIZE).to(self.compute.device)).cpu()
            opening = (read[:, _INNER[0]] - read[:, _INNER[1]]).norm(dim=1)
            correlations.append(correlation(opening.numpy(), clip.openings[:n_frames]))
        return {"opening_r": float(np.mean(correlations))} if correlations else {}

    def picture(self) -> Image | None:
        """None: figures say enough."""
        return None

    def films(self) -> Sequence[Film]:
        """None."""
        return ()

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write lip_reader.safetensors."""
        path = folder / "lip_reader.safetensors"
        save_checkpoint(
            path,
            self.reader,
            architecture="lip_reader",
            settings=to_mapping(self.settings.network),
            extra=facts,
        )
        return path


def disturb(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur by down-scaling and noise, each in half of the batches, as generated pictures have them."""
    if rng.random() < 0.5:
        size = pictures.shape[-1]
        small = int(size * rng.uniform(0.35, 0.9))
        pictures = F.interpolate(pictures, size=(small, small), mode="bilinear", antialias=True)
        pictures = F.interpolate(pictures, size=(size, size), mode="bilinear")
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(0, 0.03), size=tuple(pictures.shape))
        pictures = (pictures + torch.from_numpy(noise).float()).clamp(0, 1)
    return pictures
