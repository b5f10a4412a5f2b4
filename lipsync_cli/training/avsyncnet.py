"""Training of AVSyncNet (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.data.samples import WINDOW, Corpus, CorpusSettings, SyncBatch, draw_sync_batch, step_rng
from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.models.avsyncnet import AVSyncNet, AVSyncNetSettings
from lipsync_cli.regions import lower_half, to_network
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.loop import LoopSettings, cosine_rate, set_rate

_REACH = 15  # frames on either side over which an offset is searched


@dataclass(frozen=True, slots=True, kw_only=True)
class AVSyncNetTraining:
    """Settings of the stage; the paper's are in configs/paper/avsyncnet.toml."""

    loop: LoopSettings = field(default_factory=LoopSettings)
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: AVSyncNetSettings = field(default_factory=AVSyncNetSettings)
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

    def __post_init__(self) -> None:
        if self.loss == "bce" and not self.network.rectified:
            raise SettingsError("loss 'bce' needs network.rectified = true: a cosine below 0 has no logarithm")
        if self.n_windows < 2:
            raise SettingsError("n_windows must be at least 2: negatives come from the same clip")


class AVSyncNetStage:
    """A `Stage`."""

    def __init__(self, corpus: Corpus, settings: AVSyncNetTraining, dtype: torch.dtype) -> None:
        torch.manual_seed(settings.loop.seed)
        self.corpus = corpus
        self.settings = settings
        self.dtype = dtype
        self.network = AVSyncNet(settings.network).to(memory_format=torch.channels_last)
        self.networks: Mapping[str, nn.Module] = {"avsyncnet": self.network}
        if settings.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.network.parameters(), lr=settings.rate, betas=(0.5, 0.999)
            )
        else:
            self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=settings.rate, weight_decay=1e-3)
        self.optimizers = {"avsyncnet": self.optimizer}

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
        set_rate(self.optimizer, self.settings.rate * cosine_rate(step, self.settings.loop))
        self.network.train()
        with torch.autocast("cpu", self.dtype, enabled=self.dtype is not torch.float32):
            lips = self.network.embed_lips(batch.lips.flatten(0, 1))
            speech = self.network.embed_speech(batch.mel.flatten(0, 1))
        cosines = lips @ speech.T
        n_windows = self.settings.n_windows
        if self.settings.loss == "bce":
            loss = bce_loss(cosines, n_windows)
        else:
            loss = contrastive_loss(cosines, self.settings.temperature)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 3.0)
        self.optimizer.step()
        return {"sync": float(loss.detach()), "right": within_clip_accuracy(cosines.detach(), n_windows)}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Share of the clips whose offset is found within a frame, and the mean confidence."""
        self.network.eval()
        found = [clip_offset(self.network, clip) for clip in self.corpus.validation]
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

    def save(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write avsyncnet.safetensors."""
        save_checkpoint(
            folder / "avsyncnet.safetensors",
            self.network,
            architecture="avsyncnet",
            settings=to_mapping(self.settings.network),
            extra=facts,
            half=True,
        )


def contrastive_loss(cosines: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways: row i of cosines [N, N] (lips i, speech j) belongs to column i. -> []"""
    logits = cosines.float() / temperature
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def bce_loss(cosines: Tensor, n_windows: int) -> Tensor:
    """The paper's loss: cosine of each window with its own speech towards 1, with the speech of the next
    window (which does not overlap) of its clip towards 0. cosines [N, N] in [0, 1], N = clips x windows."""
    positive = cosines.diagonal()
    index = torch.arange(len(cosines))
    other = index - index % n_windows + (index % n_windows + 1) % n_windows
    negative = cosines[index, other]
    scores = torch.cat([positive, negative]).float().clamp(1e-6, 1 - 1e-6)
    wanted = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]).float()
    return F.binary_cross_entropy(scores, wanted)


def within_clip_accuracy(cosines: Tensor, n_windows: int) -> float:
    """Share of windows whose own speech scores above that of the next window of the clip. [N, N] -> share."""
    index = torch.arange(len(cosines))
    other = index - index % n_windows + (index % n_windows + 1) % n_windows
    return float((cosines.diagonal() > cosines[index, other]).float().mean())


def clip_offset(network: AVSyncNet, clip: Clip) -> tuple[int, float]:
    """AV offset of a clip in frames (picture at t matches sound at t + offset) and the confidence, the
    maximum of the mean cosine over +-15 frames minus its median."""
    crops = lower_half(to_network(clip.crops(list(range(clip.n_frames)))))
    starts = torch.arange(clip.n_frames - WINDOW + 1)
    lips = network.embed_lips(crops[starts[:, None] + torch.arange(WINDOW)])
    windows = MelWindows(clip.read("mel"))
    speech = network.embed_speech(windows.starting([int(start) / FRAMES_PER_SECOND for start in starts]))
    means = []
    for offset in range(-_REACH, _REACH + 1):
        heard = starts + offset
        inside = (heard >= 0) & (heard < len(starts))
        means.append((lips[inside] * speech[heard[inside]]).sum(dim=1).mean())
    curve = torch.stack(means)
    return int(curve.argmax()) - _REACH, float(curve.max() - curve.median())
