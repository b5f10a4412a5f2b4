"""What the training of the paper's G_S and G_L has in common (sections 3.1 to 3.4, eq. 5)."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.features import FeatureFiles
from lipsync_cli.data.samples import WindowBatch, WindowSampling, draw_window_batch
from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.losses.adversarial import discriminator_loss, gan_loss
from lipsync_cli.losses.reconstruction import Features, perceptual_loss, pixel_loss
from lipsync_cli.losses.total import SILENT_LIP, Coefficients, total_loss
from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.discriminator import Discriminator, DiscriminatorSettings
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.regions import mask_lower_half
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import FaceFigures, Look, Talker, measure_clip, sample_sheet
from lipsync_cli.training.film import Film, sample_films
from lipsync_cli.training.hearing import Hearing
from lipsync_cli.training.loop import LoopSettings, follow, rate_share, set_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorTraining:
    """Settings of G_S and of G_L; the paper's are in configs/paper."""

    avsyncnet: str | None = None
    """File, or name in the registry, of the AVSyncNet whose audio encoder the generator hears through, and
    which judges it; none: the registry's."""
    vgg: str | None = None
    """The same of VGG-19 or VGG-16, for L_per and L_at; none: looked for beside the user's other weights."""
    loop: LoopSettings = field(default_factory=LoopSettings)
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: UNetSettings = field(default_factory=UNetSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    sampling: WindowSampling = field(default_factory=WindowSampling)
    picture: PictureAugmentation = field(default_factory=PictureAugmentation)
    voice: VoiceAugmentation = field(default_factory=VoiceAugmentation)
    coefficients: Coefficients = SILENT_LIP
    rate: float = 1e-4
    """Learning rate of both Adam (0.5, 0.999), generator's and discriminator's."""
    clip: float = 0.0
    """Largest norm of the generator's gradient; 0: any (the paper names none)."""
    average: float = 0.0
    """Decay of a moving average of the generator's weights, which is then what is measured and saved; 0:
    none (the paper names none)."""
    features: FeatureFiles = field(default_factory=FeatureFiles)
    """Where network.listens is 'features'."""

    def __post_init__(self) -> None:
        if self.clip < 0 or not 0 <= self.average < 1:
            raise SettingsError("clip must be 0 or more, and average at least 0 and below 1")
        if self.network.listens != "mel" and self.voice.probability > 0:
            raise SettingsError(
                f"voice.probability changes mels, but network.listens is '{self.network.listens}', which is "
                "made beforehand: set voice.probability = 0"
            )
        if self.network.listens == "features" and self.features.folder is None:
            raise SettingsError("network.listens = 'features' needs features.folder (see data/features.py)")


@dataclass(frozen=True)
class Judges:
    """Frozen networks that a generator is trained and measured with."""

    avsyncnet: AVSyncNet | None
    """Whose audio encoder the generator hears through; None where it has one of its own."""
    vgg: nn.Module | None = None
    """Pictures -> maps; None where L_per and L_at have coefficient 0."""
    sync: nn.Module | None = None
    """The `SyncScorer` of the sync loss; None: the AVSyncNet."""
    hearing: Hearing = field(default_factory=Hearing)
    """What the generator hears."""
    restore: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda faces: faces
    """What is done to generated faces [N, S, S, 3] before they are measured and shown."""


@dataclass(frozen=True)
class Shown:
    """What the terms of eq. 5 look at: B windows of 5 faces."""

    generated: Tensor
    """[B * 5, 3, S, S]"""
    targets: Tensor
    """[B * 5, 3, S, S]"""
    references: Tensor
    """[B * 5, 3, S, S] as the generator saw them."""
    sync_mel: Tensor
    """[B, 1, 80, 16]"""
    features: Features
    """The VGG; looks at each picture once."""


class GeneratorStage(ABC):
    """A `Stage`: one generator and its discriminator on windows of 5 consecutive frames."""

    file_name: str
    """What the checkpoint is called."""

    def __init__(
        self,
        corpus: Corpus,
        settings: GeneratorTraining,
        compute: Compute,
        *,
        judges: Judges,
        look: Look,
    ) -> None:
        """Raises SettingsError when the audio encoder of the AVSyncNet is not the generator's."""
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.compute = compute
        self.look = look
        self.hearing = judges.hearing
        self.restore = judges.restore
        self.sync_network = judges.sync or judges.avsyncnet
        if self.sync_network is not None:
            self.sync_network = compute.freeze(self.sync_network)
        self.vgg = None if judges.vgg is None else compute.freeze(judges.vgg)
        self.generator = UNetFaceGenerator(settings.network)
        if hears_through_avsyncnet(settings):
            _copy_audio_encoder(judges.avsyncnet, self.generator)
        self.generator = compute.place(self.generator)
        self.discriminator = compute.place(Discriminator(settings.discriminator))
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
        }
        self.shown_generator = self.generator
        """What is measured and saved."""
        if settings.average:
            self.shown_generator = copy.deepcopy(self.generator).requires_grad_(False)
            self.networks["average"] = self.shown_generator
        learning = [weight for weight in self.generator.parameters() if weight.requires_grad]
        self.generator_optimizer = torch.optim.Adam(learning, lr=settings.rate, betas=(0.5, 0.999))
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.rate, betas=(0.5, 0.999)
        )
        self.optimizers = {
            "generator": self.generator_optimizer,
            "discriminator": self.discriminator_optimizer,
        }

    @abstractmethod
    def identity(self, pictures: Tensor) -> Tensor:
        """Identity references [B, 3, S, S] as the generator is to see them."""

    def draw(self, step: int) -> WindowBatch:
        """B windows of 5 frames."""
        settings = self.settings
        return draw_window_batch(
            self.corpus,
            step_rng(settings.loop.seed, step),
            settings.sampling,
            picture=settings.picture,
            voice=settings.voice,
            hear=self.hearing.around,
        )

    def train(self, batch: WindowBatch, step: int) -> dict[str, float]:
        """One step of the generator, then one of the discriminator."""
        batch = batch.to(self.compute.device)
        for optimizer in self.optimizers.values():
            set_rate(optimizer, self.settings.rate * rate_share(step, self.settings.loop))
        self.generator.train()
        n_frames = batch.targets.shape[1]
        targets = batch.targets.flatten(0, 1)
        self.discriminator.requires_grad_(False)
        with self.compute.autocast():
            references = self.identity(batch.references).repeat_interleave(n_frames, dim=0)
            generated = self.generator(batch.mel.flatten(0, 1), references[:, None], mask_lower_half(targets))
            features = _once(self.vgg)
            terms = self.terms(Shown(generated, targets, references, batch.sync_mel, features))
        loss = total_loss(terms, self.settings.coefficients)
        changed = self.compute.update(loss.total, self.generator_optimizer, clip=self.settings.clip)
        if changed and self.settings.average:
            decay = min(self.settings.average, (1 + step) / (10 + step))
            follow(self.shown_generator, self.generator, decay)
        losses = dict(loss.terms)
        if self.settings.coefficients.gan:
            losses["discriminator"] = self._train_discriminator(generated.detach(), targets)
        return losses

    def terms(self, shown: Shown) -> dict[str, Tensor]:
        """The terms of eq. 5 that count, by the names of `Coefficients`."""
        needed = self.settings.coefficients.needed
        terms = {}
        if "gan" in needed:
            terms["gan"] = gan_loss(self.discriminator(shown.generated).float())
        if "pixel" in needed:
            terms["pixel"] = pixel_loss(shown.generated, shown.targets)
        if "perceptual" in needed:
            terms["perceptual"] = perceptual_loss(shown.features, shown.generated, shown.targets)
        return terms

    def _train_discriminator(self, generated: Tensor, targets: Tensor) -> float:
        self.discriminator.requires_grad_(True)
        with self.compute.autocast():
            real, fake = self.discriminator(targets), self.discriminator(generated)
        loss = discriminator_loss(real.float(), fake.float())
        self.compute.update(loss, self.discriminator_optimizer)
        return float(loss.detach())

    def talker(self) -> Talker:
        """The generator, as it is let speak."""

        def silenced(picture: Tensor) -> Tensor:
            with torch.no_grad(), self.compute.autocast():
                return self.identity(picture[None].to(self.compute.device))[0].float().cpu()

        return Talker(
            self.shown_generator,
            self.compute,
            self.hearing.whole,
            self.hearing.silence,
            silenced,
            self.restore,
        )

    def validate(self) -> dict[str, float]:
        """Mean figures over the validation clips, each dubbed with its own speech."""
        talker = self.talker()
        return FaceFigures.mean([measure_clip(talker, clip, self.look) for clip in self.corpus.validation])

    def picture(self) -> Image | None:
        """Real and generated frames of the validation clips; None where there are none."""
        return sample_sheet(self.talker(), self.corpus.validation[:4])

    def films(self) -> Sequence[Film]:
        """Two validation clips, real and generated."""
        return sample_films(self.talker(), self.corpus.validation[:2])

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write the generator's checkpoint."""
        path = folder / self.file_name
        save_checkpoint(
            path,
            self.shown_generator,
            architecture="unet",
            settings=to_mapping(self.settings.network),
            extra=facts,
            half=True,
        )
        return path


def _once(vgg: nn.Module | None) -> Features:
    """The VGG, which looks at each tensor only once: L_per and L_at ask for the same pictures."""
    known: dict[int, Sequence[Tensor]] = {}

    def look(pictures: Tensor) -> Sequence[Tensor]:
        if vgg is None:
            raise RuntimeError("the perceptual and the triplet loss need a VGG")
        if id(pictures) not in known:
            known[id(pictures)] = vgg(pictures)
        return known[id(pictures)]

    return look


def hears_through_avsyncnet(settings: GeneratorTraining) -> bool:
    """Whether the generator's audio encoder is the AVSyncNet's, frozen."""
    return settings.network.listens == "mel" and settings.network.frozen_speech


def _copy_audio_encoder(avsyncnet: AVSyncNet | None, generator: UNetFaceGenerator) -> None:
    """E_A, frozen (section 3.1), with the weights that it has in the AVSyncNet."""
    if avsyncnet is None:
        raise SettingsError("a generator with a frozen audio encoder needs the AVSyncNet that it comes from")
    own, given = to_mapping(generator.settings.speech), to_mapping(avsyncnet.settings.speech)
    different = [key for key in own if own[key] != given[key]]
    if different:
        key = different[0]
        raise SettingsError(
            f"network.speech.{key} is {own[key]}, but {given[key]} in the AVSyncNet whose audio encoder the "
            "generator is to hear through: name another AVSyncNet, or set network.speech as it has it"
        )
    generator.audio_encoder.load_state_dict(avsyncnet.audio_encoder.state_dict())
