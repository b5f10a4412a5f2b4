"""Training of the lip reader: lower half of a face -> lip points (the landmarks of the preparation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.samples import Corpus, FaceSampling, draw_face_batch, step_rng
from lipsync_cli.interfaces import Image
from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings
from lipsync_cli.regions import lower_half, to_network
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.training.loop import LoopSettings, cosine_rate, set_rate

_INNER = (35, 25)  # places of the inner lips' middle points (mesh468 13 and 14) among the lip points


@dataclass(frozen=True, slots=True, kw_only=True)
class LipReaderTraining:
    """Settings of the stage."""

    loop: LoopSettings = field(default_factory=lambda: LoopSettings(steps=600, validate_every=300))
    network: LipReaderSettings = field(default_factory=LipReaderSettings)
    picture: PictureAugmentation = field(
        default_factory=lambda: PictureAugmentation(rotation=12.0, warp=0.03)
    )
    sampling: FaceSampling = field(default_factory=lambda: FaceSampling(n_clips=24, n_frames=2))
    rate: float = 2e-3
    """Learning rate of AdamW."""


class LipReaderStage:
    """A `Stage`: L1 between read and real points, on pictures blurred and disturbed as generated ones are."""

    def __init__(self, corpus: Corpus, settings: LipReaderTraining, dtype: torch.dtype) -> None:
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.dtype = dtype
        self.reader = LipReader(settings.network).to(memory_format=torch.channels_last)
        self.networks: Mapping[str, nn.Module] = {"lip_reader": self.reader}
        self.optimizer = torch.optim.AdamW(self.reader.parameters(), lr=settings.rate, weight_decay=1e-3)
        self.optimizers = {"lip_reader": self.optimizer}

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Lower halves [B, 3, S/2, S] and their points [B, 40, 2]."""
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
        return lower_half(disturb(pictures, rng)), points

    def train(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, float]:
        """One step of AdamW."""
        lips, points = batch
        set_rate(self.optimizer, self.settings.rate * cosine_rate(step, self.settings.loop))
        self.reader.train()
        with torch.autocast("cpu", self.dtype, enabled=self.dtype is not torch.float32):
            read = self.reader(lips)
        loss = (read - points).abs().mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"points": float(loss.detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Correlation of the read opening with the landmarks', over each validation clip."""
        self.reader.eval()
        correlations = []
        for clip in self.corpus.validation:
            crops = to_network(clip.crops(list(range(clip.n_frames))))
            read = self.reader(lower_half(crops))
            opening = (read[:, _INNER[0]] - read[:, _INNER[1]]).norm(dim=1)
            correlations.append(float(np.corrcoef(opening.numpy(), clip.openings)[0, 1]))
        return {"opening_r": float(np.mean(correlations))} if correlations else {}

    def picture(self) -> Image | None:
        """None: figures say enough."""
        return None

    def save(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write lip_reader.safetensors."""
        save_checkpoint(
            folder / "lip_reader.safetensors",
            self.reader,
            architecture="lip_reader",
            settings=to_mapping(self.settings.network),
            extra=facts,
        )


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
