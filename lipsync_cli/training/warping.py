"""Training of the default generator (`WarpingFaceGenerator`) for both roles, G_S and G_L.

Recipe and figures: weights/README.md. One network serves both roles: it hears silence as G_S.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.face_samples import FaceBatch, FaceSampling, draw_face_batch
from lipsync_cli.data.layout import Clip
from lipsync_cli.data.samples import WINDOW
from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.losses.lip_shape import UNIT, lip_shape_losses
from lipsync_cli.losses.movement import (
    discriminator_hinge,
    feature_matching,
    flow_variation,
    high_pass,
    mouth_window,
    movement_weight,
    structure_loss,
    weighted_gradient_l1,
    weighted_l1,
)
from lipsync_cli.losses.sync import stabilized_sync_loss, sync_scores
from lipsync_cli.models.mouth_discriminator import MouthDiscriminator, MouthDiscriminatorSettings
from lipsync_cli.models.warping_generator import WarpingGeneratorSettings
from lipsync_cli.regions import lower_half, mask_lower_half, resize
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import FaceFigures, Look, Talker, measure_clip, sample_sheet
from lipsync_cli.training.film import Film, sample_films
from lipsync_cli.training.hearing import hear_steps
from lipsync_cli.training.lip_reader import LIPS_SIZE
from lipsync_cli.training.loop import LoopSettings, follow, rate_share, set_rate
from lipsync_cli.training.warping_start import Teachers, first_generator


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpingCoefficients:
    """Multipliers of the losses."""

    pixel: float = 4.0
    gradient: float = 4.0
    structure: float = 0.5
    """Of 1 - SSIM of the lower half."""
    lip_shape: float = 1.0
    spread: float = 0.1
    """Of the openings' spread over a clip's frames."""
    width: float = 0.0
    """Of the mouth's width, corner to corner."""
    sync: float = 0.0
    """Of the paper's stabilized synchronization loss (eq. 3)."""
    heard_shape: float = 0.5
    """Of the lip points read from the speech alone, which only teaches the speech encoder."""
    flow: float = 1.92
    """Of the flows' total variation, in parts of the picture's side."""
    adversarial: float = 0.03
    features: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpingTraining:
    """Settings of the stage."""

    lip_reader: str | None = None
    """File, or name in the registry, of the reader of the lip-shape loss; none: the registry's."""
    avsyncnet: str | None = None
    """File, or name in the registry, of the AVSyncNet of the synchronization loss; none: the registry's. Take
    another than the one that is to judge afterwards."""
    lip_predictor: str | None = None
    """File, or name in the registry, of the predictor of the lips' movement that the generator listens to;
    none: that of start_from, if it has one. network.speech.predictor is then that file's, or start_from's."""
    start_from: str | None = None
    """File, or name in the registry, of a talking face to go on from; none: random weights. One without a
    predictor gets lip_predictor's."""
    loop: LoopSettings = field(default_factory=LoopSettings)
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: WarpingGeneratorSettings = field(default_factory=WarpingGeneratorSettings)
    discriminator: MouthDiscriminatorSettings = field(default_factory=MouthDiscriminatorSettings)
    sampling: FaceSampling = field(default_factory=FaceSampling)
    picture: PictureAugmentation = field(default_factory=PictureAugmentation)
    voice: VoiceAugmentation = field(default_factory=VoiceAugmentation)
    coefficients: WarpingCoefficients = field(default_factory=WarpingCoefficients)
    rate: float = 1e-3
    """Learning rate of AdamW (0.8, 0.99)."""
    discriminator_rate: float = 1e-3
    """Learning rate of the discriminator's Adam (0.5, 0.99)."""
    adversarial_from: int = 800
    """Step from which the discriminator takes part."""
    average: float = 0.998
    """Decay of the moving average of the generator's weights, which is what is saved."""

    def __post_init__(self) -> None:
        if self.coefficients.sync and not self.sampling.consecutive:
            raise SettingsError(
                "coefficients.sync needs consecutive targets: set sampling.consecutive = true and "
                f"sampling.n_frames = {WINDOW}"
            )


class WarpingStage:
    """A `Stage`."""

    def __init__(
        self,
        corpus: Corpus,
        settings: WarpingTraining,
        compute: Compute,
        *,
        teachers: Teachers,
        look: Look,
    ) -> None:
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.compute = compute
        self.look = look
        self.reader = compute.freeze(teachers.reader)
        self.embedding = compute.freeze(teachers.embedding)
        sync_network = teachers.sync_network
        self.sync_network = None if sync_network is None else compute.freeze(sync_network)
        self.generator = compute.place(
            first_generator(settings.network, settings.start_from, teachers.predictor)
        )
        self.further = self.generator.speech_encoder.further
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.discriminator = compute.place(MouthDiscriminator(settings.discriminator))
        n_points = teachers.reader.settings.n_points
        self.heard_shape = compute.place(nn.Linear(settings.network.speech.outputs, 2 * n_points))
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
            "heard_shape": self.heard_shape,
        }
        self.generator_optimizer = torch.optim.AdamW(
            [*self.generator.parameters(), *self.heard_shape.parameters()],
            lr=settings.rate,
            betas=(0.8, 0.99),
            weight_decay=1e-3,
        )
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.discriminator_rate, betas=(0.5, 0.99)
        )
        self.optimizers = {
            "generator": self.generator_optimizer,
            "discriminator": self.discriminator_optimizer,
        }

    def draw(self, step: int) -> FaceBatch:
        """C clips of F targets."""
        settings = self.settings
        rng = step_rng(settings.loop.seed, step)
        return draw_face_batch(
            self.corpus,
            rng,
            settings.sampling,
            picture=settings.picture,
            voice=settings.voice,
            further=self.further,
        )

    def train(self, batch: FaceBatch, step: int) -> dict[str, float]:
        """One step of the generator and, from its time on, of the discriminator."""
        batch = batch.to(self.compute.device)
        rate = rate_share(step, self.settings.loop)
        set_rate(self.generator_optimizer, self.settings.rate * rate)
        set_rate(self.discriminator_optimizer, self.settings.discriminator_rate * rate)
        self.generator.train()
        n_frames = batch.targets.shape[1]
        targets = batch.targets.flatten(0, 1)
        references = batch.references.repeat_interleave(n_frames, dim=0)
        speech = self._steps(batch.log_mel.flatten(0, 1))
        with self.compute.autocast():
            pose = mask_lower_half(targets)
            motion = self.generator.motion(speech, references, pose)
            generated = self.generator.compose(motion, references, pose)
            terms = self._terms(batch, generated, targets, references)
            if self.settings.coefficients.sync:
                terms["sync"] = self._sync_loss(batch, generated)
            terms["heard_shape"] = self._heard_shape_loss(batch, speech)
        terms["flow"] = flow_variation(motion.flows)
        is_adversarial = step >= self.settings.adversarial_from
        if is_adversarial:
            terms |= self._adversarial_terms(generated, targets)
        coefficients = self.settings.coefficients
        total = torch.stack([getattr(coefficients, name) * term for name, term in terms.items()]).sum()
        if self.compute.update(total, self.generator_optimizer, clip=3.0, clipped=self.generator):
            follow(self.average, self.generator, min(self.settings.average, (1 + step) / (10 + step)))
        losses = {name: float(term.detach()) for name, term in terms.items()}
        losses.setdefault("adversarial", 0.0)
        losses.setdefault("features", 0.0)
        losses["discriminator"] = (
            self._train_discriminator(generated.detach(), targets) if is_adversarial else 0.0
        )
        return losses

    def _terms(
        self, batch: FaceBatch, generated: Tensor, targets: Tensor, references: Tensor
    ) -> dict[str, Tensor]:
        weight = movement_weight(targets, references[:, 0])
        half = targets.shape[-1] // 2
        lips = lip_shape_losses(
            self._read, lower_half(generated), lower_half(targets), batch.targets.shape[1]
        )
        return {
            "pixel": weighted_l1(generated, targets, weight),
            "gradient": weighted_gradient_l1(generated, targets, weight, half - 4),
            "structure": structure_loss(lower_half(generated).float(), lower_half(targets)),
            "lip_shape": lips.points,
            "spread": lips.spread,
            "width": lips.width,
        }

    def _sync_loss(self, batch: FaceBatch, generated: Tensor) -> Tensor:
        """L_ss (eq. 3) of the spoken windows; 0 where a batch has none."""
        if self.sync_network is None:
            raise SettingsError("the synchronization loss needs an AVSyncNet")
        spoken = batch.spoken
        if not spoken.any():
            return generated.new_zeros((), dtype=torch.float32)
        windows = generated.reshape(batch.targets.shape)
        scores = sync_scores(
            self.sync_network,
            batch.sync_mel[spoken],
            generated=lower_half(windows[spoken]),
            target=lower_half(batch.targets[spoken]),
            reference=lower_half(batch.references[:, :1].expand_as(batch.targets)[spoken]),
        )
        return stabilized_sync_loss(scores)

    def _read(self, lips: Tensor) -> Tensor:
        points: Tensor = self.reader(resize(lips, LIPS_SIZE))
        return points

    def _heard_shape_loss(self, batch: FaceBatch, speech: Tensor) -> Tensor:
        """L1 between the lips' change from the closed reference and what the speech alone tells of it."""
        change = (batch.lips - batch.reference_lips[:, :1]).flatten(0, 1).flatten(1) / UNIT
        told: Tensor = self.heard_shape(self.generator.speech_encoder(speech))
        return (told.float() - change).abs().mean()

    def _mouths(self, faces: Tensor) -> Tensor:
        rows, columns = mouth_window(faces.shape[-1])
        mouths: Tensor = faces[:, :, rows, columns]
        return torch.cat([mouths, high_pass(mouths)], dim=1)

    def _adversarial_terms(self, generated: Tensor, targets: Tensor) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        with self.compute.autocast():
            scores, of_fake = self.discriminator(self._mouths(generated))
            with torch.no_grad():
                _, of_real = self.discriminator(self._mouths(targets))
        return {
            "adversarial": -scores.float().mean(),
            "features": feature_matching([one.float() for one in of_real], [one.float() for one in of_fake]),
        }

    def _train_discriminator(self, generated: Tensor, targets: Tensor) -> float:
        self.discriminator.requires_grad_(True)
        with self.compute.autocast():
            fake, _ = self.discriminator(self._mouths(generated))
            real, _ = self.discriminator(self._mouths(targets))
        loss = discriminator_hinge(real.float(), fake.float())
        self.compute.update(loss, self.discriminator_optimizer)
        return float(loss.detach())

    def talker(self) -> Talker:
        """The moving average, as it is let speak."""
        hear, silence = hear_steps(lambda log_mel: self._steps(log_mel).cpu(), self.further)
        return Talker(self.average, self.compute, hear, silence)

    @torch.no_grad()
    def _steps(self, log_mel: Tensor) -> Tensor:
        return self.embedding.steps(log_mel.to(self.compute.device))

    def validate(self) -> dict[str, float]:
        """Mean figures over the validation clips."""
        return FaceFigures.mean([self.measure(clip) for clip in self.corpus.validation])

    def measure(self, clip: Clip, offset: int = 0) -> FaceFigures:
        """Figures of one clip dubbed with its own speech; offset: the clip's own AV offset in frames."""
        return measure_clip(self.talker(), clip, self.look, offset=offset)

    def picture(self) -> Image | None:
        """Real and generated frames of the validation clips; None where there are none."""
        return sample_sheet(self.talker(), self.corpus.validation[:4])

    def films(self) -> Sequence[Film]:
        """Two validation clips, real and generated."""
        return sample_films(self.talker(), self.corpus.validation[:2])

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write talking_face.safetensors: the moving average."""
        path = folder / "talking_face.safetensors"
        save_checkpoint(
            path,
            self.average,
            architecture="warping_generator",
            settings=to_mapping(self.generator.settings),
            extra=facts,
            half=True,
        )
        return path
