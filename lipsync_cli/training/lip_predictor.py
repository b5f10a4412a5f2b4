"""Training of the lip predictor: speech -> how the mouth opens and widens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.layout import Clip
from lipsync_cli.data.lip_movement import lip_movement, steps_from
from lipsync_cli.data.samples import Tensors
from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.models.lip_predictor import FURTHER_STEPS, LipPredictor, LipPredictorSettings
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.speech.embedding_mel import N_BINS, silence_floor
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import correlation
from lipsync_cli.training.film import Film
from lipsync_cli.training.loop import LoopSettings, follow, rate_share, set_rate

_HEARD = 40  # columns of the log mel that one step hears
_BEFORE = 4  # steps of a frame's ten before the two around its middle
_LONGEST = 500  # frames of a clip that are measured
_WIDTH_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LipPredictorTraining:
    """Settings of the stage."""

    loop: LoopSettings = field(default_factory=lambda: LoopSettings(steps=500, validate_every=250))
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: LipPredictorSettings = field(default_factory=LipPredictorSettings)
    n_clips: int = 24
    """Clips in a batch of each network."""
    n_frames: int = 64
    """Frames of each, at most."""
    rate: float = 2e-3
    """Learning rate of AdamW."""
    weight_decay: float = 0.05
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is saved."""

    def __post_init__(self) -> None:
        if self.n_frames < 2:
            raise SettingsError(f"n_frames {self.n_frames} is too few: a movement needs 2")


@dataclass(frozen=True)
class LipsHeard(Tensors):
    """B stretches of F frames of speech, with the lips that spoke it."""

    steps: Tensor
    """[B, F + 31, 384] of the speech embedding."""
    movement: Tensor
    """[B, F, 2] opening and width of the mouth in standard deviations of the stretch."""
    is_there: Tensor
    """[B, F, 1] 1.0; 0.0 past the end of a short clip."""


class LipPredictorStage:
    """A `Stage`: L1 between the movements that are told and those that were filmed, each stretch as its own.

    How wide people open their mouths differs by more than words do, so every stretch counts in its own
    standard deviations and from its own mean. Voices are not changed: that cost more than it gained.
    """

    def __init__(
        self, corpus: Corpus, settings: LipPredictorTraining, compute: Compute, *, embedding: SpeechEmbedding
    ) -> None:
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.compute = compute
        self.embedding = embedding.eval().requires_grad_(False)
        self.predictor = compute.place(LipPredictor(settings.network))
        self.average = compute.place(LipPredictor(settings.network)).requires_grad_(False)
        self.average.load_state_dict(self.predictor.state_dict())
        self.networks: Mapping[str, nn.Module] = {"predictor": self.predictor, "average": self.average}
        self.optimizer = torch.optim.AdamW(
            self.predictor.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
        )
        self.optimizers = {"predictor": self.optimizer}

    def draw(self, step: int) -> LipsHeard:
        """As many stretches for each network as the settings say."""
        rng = step_rng(self.settings.loop.seed, step)
        drawn = []
        for _ in range(self.settings.n_clips * self.settings.network.n_networks):
            clip = self.corpus.draw(rng)
            n = min(clip.n_frames, self.settings.n_frames)
            drawn.append((clip, int(rng.integers(clip.n_frames - n + 1)), n))
        floors = [silence_floor(clip.read("log_mel")) for clip, _, _ in drawn]
        samples = [
            self._sample(*one, silence=silence)
            for one, silence in zip(drawn, self._silences(floors), strict=True)
        ]
        return LipsHeard(*(torch.stack(tensors) for tensors in zip(*samples, strict=True)))

    def _silences(self, floors: Sequence[float]) -> Tensor:
        """A step of the embedding [B, 384] for each level of silence."""
        levels = torch.tensor(floors, dtype=torch.float32)[:, None, None]
        with torch.no_grad():
            return self.embedding.steps(levels.repeat(1, _HEARD, N_BINS))[:, 0]

    def _sample(self, clip: Clip, first: int, n: int, silence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a `LipsHeard` has of one stretch."""
        n_frames, n_steps = self.settings.n_frames, self.settings.n_frames + 2 * FURTHER_STEPS + 1
        steps = steps_from(clip, first - FURTHER_STEPS + _BEFORE, n_steps, silence)
        real = np.zeros((n_frames, 2), np.float32)
        real[:n] = lip_movement(clip, slice(first, first + n))
        is_there = torch.zeros(n_frames, 1)
        is_there[:n] = 1
        return steps, torch.from_numpy(real), is_there

    def train(self, batch: LipsHeard, step: int) -> dict[str, float]:
        """One step of AdamW."""
        batch = batch.to(self.compute.device)
        set_rate(self.optimizer, self.settings.rate * rate_share(step, self.settings.loop))
        self.predictor.train()
        with self.compute.autocast():
            told = self.predictor.each(batch.steps).float()
        n = batch.is_there.sum(dim=1, keepdim=True)
        told = told - (told * batch.is_there).sum(dim=1, keepdim=True) / n
        losses = ((told - batch.movement).abs() * batch.is_there / n).sum(dim=1).mean(dim=0)
        if self.compute.update(losses[0] + _WIDTH_WEIGHT * losses[1], self.optimizer, clip=1.0):
            follow(self.average, self.predictor, min(self.settings.average, (1 + step) / (10 + step)))
        return {"opening": float(losses[0].detach()), "width": float(losses[1].detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Correlation with the landmarks' opening and width, over each validation clip; their means."""
        self.average.eval()
        found = []
        for clip in self.corpus.validation:
            n = min(clip.n_frames, _LONGEST)
            silence = self._silences([silence_floor(clip.read("log_mel"))])[0]
            steps = steps_from(clip, _BEFORE - FURTHER_STEPS, n + 2 * FURTHER_STEPS + 1, silence)
            told = self.average(steps[None].to(self.compute.device))[0].float().cpu().numpy()
            real = lip_movement(clip, slice(0, n))
            found.append([correlation(told[:, i], real[:, i]) for i in range(2)])
        if not found:
            return {}
        opening_r, width_r = np.mean(found, axis=0)
        return {"opening_r": float(opening_r), "width_r": float(width_r)}

    def picture(self) -> Image | None:
        """None: figures say enough."""
        return None

    def films(self) -> Sequence[Film]:
        """None."""
        return ()

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write lip_predictor.safetensors: the moving average."""
        path = folder / "lip_predictor.safetensors"
        save_checkpoint(
            path,
            self.average,
            architecture="lip_predictor",
            settings=to_mapping(self.settings.network),
            extra=facts,
        )
        return path
