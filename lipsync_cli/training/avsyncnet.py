"""Training of AVSyncNet (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.data.samples import WINDOW, SyncBatch, draw_sync_batch
from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.models.avsyncnet import AVSyncNet, AVSyncNetSettings
from lipsync_cli.regions import lower_half, to_network
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.film import Film
from lipsync_cli.training.loop import LoopSettings, rate_share, set_rate

_LONGEST = 500  # frames of a clip that are looked at
_BATCH = 64  # windows at a time
_REACH = 15  # frames on either side over which an offset is searched


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTraining:
    """Settings that the stages avsyncnet and syncnet share."""

    loop: LoopSettings = field(default_factory=LoopSettings)
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    picture: PictureAugmentation = field(default_factory=PictureAugmentation)
    voice: VoiceAugmentation = field(default_factory=VoiceAugmentation)
    n_clips: int = 24
    """Clips in a batch."""
    n_windows: int = 4
    """Windows of each clip, which do not overlap."""
    loss: Literal["contrastive", "bce"] = "contrastive"
    """bce: the paper's binary cross-entropy of the cosine, one negative of the same clip for each positive.
    contrastive: which of all windows in the batch belongs to this one, both ways (InfoNCE)."""
    temperature: float = 0.07
    """Of the contrastive loss."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """adam: the paper's, betas (0.5, 0.999)."""
    rate: float = 1e-3
    """Learning rate."""
    clip: float = 3.0
    """Largest norm of the gradient; 0: any (the paper names none)."""

    def __post_init__(self) -> None:
        if self.n_windows < 2:
            raise SettingsError("n_windows must be at least 2: negatives come from the same clip")
        if self.clip < 0:
            raise SettingsError("clip must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class AVSyncNetTraining(SyncTraining):
    """Settings of the stage; the paper's are in configs/paper/avsyncnet.toml."""

    network: AVSyncNetSettings = field(default_factory=AVSyncNetSettings)

    def __post_init__(self) -> None:
        SyncTraining.__post_init__(self)
        if self.loss == "bce" and not self.network.rectified:
            raise SettingsError(
                "loss 'bce' needs network.rectified = true: a cosine below 0 has no logarithm"
            )


class SyncNetwork(Protocol):
    """What the stage trains: two encoders of one length."""

    def embed_lips(self, lips: Tensor) -> Tensor:
        """[B, 5, 3, h, w] in [0, 1] -> unit vectors [B, D]."""
        ...

    def embed_speech(self, mel: Tensor) -> Tensor:
        """[B, 1, 80, 16] -> unit vectors [B, D]."""
        ...


class SyncStage:
    """A `Stage`: tells which speech belongs to which lips."""

    def __init__(
        self,
        corpus: Corpus,
        settings: SyncTraining,
        compute: Compute,
        *,
        build: Callable[[], nn.Module],
        architecture: str,
    ) -> None:
        """build: makes the network, a `SyncNetwork` with `settings`, which `architectures` knows by name."""
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.compute = compute
        self.architecture = architecture
        self.network: Any = compute.place(build())
        self.networks: Mapping[str, nn.Module] = {architecture: self.network}
        if settings.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.network.parameters(), lr=settings.rate, betas=(0.5, 0.999)
            )
        else:
            self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=settings.rate, weight_decay=1e-3)
        self.optimizers = {architecture: self.optimizer}

    def draw(self, step: int) -> SyncBatch:
        """C clips of K windows."""
        return draw_sync_batch(
            self.corpus,
            step_rng(self.settings.loop.seed, step),
            n_clips=self.settings.n_clips,
            n_windows=self.settings.n_windows,
            picture=self.settings.picture,
            voice=self.settings.voice,
        )

    def train(self, batch: SyncBatch, step: int) -> dict[str, float]:
        """One step."""
        batch = batch.to(self.compute.device)
        set_rate(self.optimizer, self.settings.rate * rate_share(step, self.settings.loop))
        self.network.train()
        with self.compute.autocast():
            lips = self.network.embed_lips(batch.lips.flatten(0, 1))
            speech = self.network.embed_speech(batch.mel.flatten(0, 1))
        cosines = self.compute.gather(lips) @ self.compute.gather(speech).T  # negatives of all processes
        n_windows = self.settings.n_windows
        if self.settings.loss == "bce":
            loss = bce_loss(cosines, n_windows)
        else:
            loss = contrastive_loss(cosines, self.settings.temperature)
        self.compute.update(loss, self.optimizer, clip=self.settings.clip)
        return {"sync": float(loss.detach()), "right": within_clip_accuracy(cosines.detach(), n_windows)}

    def validate(self) -> dict[str, float]:
        """Share of the clips whose offset is found within a frame, and the mean confidence."""
        self.network.eval()
        found = [clip_offset(self.network, clip, self.compute) for clip in self.corpus.validation]
        if not found:
            return {}
        within = [abs(offset) <= 1 for offset, _ in found]
        return {
            "within_1": sum(within) / len(found),
            "confidence": sum(confidence for _, confidence in found) / len(found),
        }

    def picture(self) -> Image | None:
        """None: there is nothing to look at."""
        return None

    def films(self) -> Sequence[Film]:
        """None."""
        return ()

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write avsyncnet.safetensors or syncnet.safetensors."""
        path = folder / f"{self.architecture}.safetensors"
        save_checkpoint(
            path,
            self.network,
            architecture=self.architecture,
            settings=to_mapping(self.network.settings),
            extra=facts,
            half=True,
        )
        return path


class AVSyncNetStage(SyncStage):
    """AVSyncNet: its audio encoder is the E_A of the generators."""

    def __init__(self, corpus: Corpus, settings: AVSyncNetTraining, compute: Compute) -> None:
        super().__init__(
            corpus, settings, compute, build=lambda: AVSyncNet(settings.network), architecture="avsyncnet"
        )


def contrastive_loss(cosines: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways: row i of cosines [N, N] (lips i, speech j) belongs to column i. -> []"""
    logits = cosines.float() / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def bce_loss(cosines: Tensor, n_windows: int) -> Tensor:
    """The paper's loss: cosine of each window with its own speech towards 1, with the speech of the next
    window (which does not overlap) of its clip towards 0. cosines [N, N] in [0, 1], N = clips x windows."""
    positive = cosines.diagonal()
    negative = cosines.gather(1, _next_window(cosines, n_windows)[:, None])[:, 0]
    scores = torch.cat([positive, negative]).float().clamp(1e-6, 1 - 1e-6)
    wanted = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]).float()
    return F.binary_cross_entropy(scores, wanted)


def within_clip_accuracy(cosines: Tensor, n_windows: int) -> float:
    """Share of windows whose own speech scores above that of the next window of the clip. [N, N] -> share."""
    other = cosines.gather(1, _next_window(cosines, n_windows)[:, None])[:, 0]
    return float((cosines.diagonal() > other).float().mean())


def _next_window(cosines: Tensor, n_windows: int) -> Tensor:
    """For each row [N] the column of the next window of its clip (the first after the last)."""
    index = torch.arange(len(cosines), device=cosines.device)
    return index - index % n_windows + (index % n_windows + 1) % n_windows


@torch.no_grad()
def clip_offset(network: SyncNetwork, clip: Clip, compute: Compute | None = None) -> tuple[int, float]:
    """AV offset of a clip in frames (picture at t matches sound at t + offset) and the confidence, the
    maximum of the mean cosine over +-15 frames minus its median; of the clip's first 20 s."""
    compute = compute or Compute()
    n_frames = min(clip.n_frames, _LONGEST)
    crops = lower_half(to_network(clip.crops(list(range(n_frames)))))
    starts = torch.arange(n_frames - WINDOW + 1)
    mel = MelWindows(clip.read("mel")).starting([int(start) / FRAMES_PER_SECOND for start in starts])
    lips, speech = [], []
    for first in range(0, len(starts), _BATCH):
        some = starts[first : first + _BATCH]
        windows = crops[some[:, None] + torch.arange(WINDOW)]
        lips.append(network.embed_lips(windows.to(compute.device)).cpu())
        speech.append(network.embed_speech(mel[some].to(compute.device)).cpu())
    return best_offset(torch.cat(lips), torch.cat(speech))


def best_offset(lips: Tensor, speech: Tensor) -> tuple[int, float]:
    """Offset and confidence of embeddings [N, D] of the windows that start at each frame."""
    starts = torch.arange(len(lips))
    reach = min(_REACH, len(lips) - 1)
    means = []
    for offset in range(-reach, reach + 1):
        heard = starts + offset
        inside = (heard >= 0) & (heard < len(starts))
        means.append((lips[inside] * speech[heard[inside]]).sum(dim=1).mean())
    curve = torch.stack(means)
    return int(curve.argmax()) - reach, float(curve.max() - curve.median())
