"""Training of G_L, the talking-face generator (paper, sections 3.3 and 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.data.samples import WINDOW
from lipsync_cli.errors import SettingsError
from lipsync_cli.losses.sync import lip_sync_loss, stabilized_sync_loss, sync_scores
from lipsync_cli.losses.total import TALKING_FACE, Coefficients
from lipsync_cli.losses.triplet import adaptive_triplet_loss, vanilla_triplet_loss
from lipsync_cli.regions import lower_half, mask_lower_half, to_network
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import Look
from lipsync_cli.training.generator import (
    GeneratorStage,
    GeneratorTraining,
    Judges,
    Shown,
)
from lipsync_cli.training.hearing import silent_window


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkingFaceTraining(GeneratorTraining):
    """Settings of the stage; the paper's are in configs/paper/talking_face.toml."""

    silent_lip: str | None = None
    """File, or name in the registry, of the silent-lip generator G_S; none: the registry's."""
    coefficients: Coefficients = TALKING_FACE
    """Of eq. 5."""
    silence_references: bool = True
    """G_S closes the lips of the identity references. False: they are as they are (setups A to C)."""
    sync_network: Literal["avsyncnet", "syncnet"] = "avsyncnet"
    """Which network the sync loss asks; syncnet: Wav2Lip's (setups A to G)."""
    syncnet: str | None = None
    """File, or name in the registry, of that SyncNet: of stage syncnet, or Wav2Lip's own."""
    sync_loss: Literal["stabilized", "lip_sync"] = "stabilized"
    """stabilized: L_ss (eq. 3). lip_sync: Wav2Lip's (setups A to D)."""
    triplet: Literal["adaptive", "vanilla", "none"] = "adaptive"
    """adaptive: L_at (eq. 2). vanilla: setup F. none: coefficients.triplet must be 0."""
    restorer: Literal["none", "vqfr", "gfpgan", "gpen"] = "none"
    """Sharpens generated faces before they are measured and shown (FR1 to FR3); no part of the training."""
    restorer_weights: str | None = None
    """Its file, or name in the registry; none: the registry's of that name."""

    def __post_init__(self) -> None:
        GeneratorTraining.__post_init__(self)
        contradictions = {
            "triplet = 'none', but coefficients.triplet is not 0": (
                self.triplet == "none" and self.coefficients.triplet > 0
            ),
            "silent_lip names a G_S, which silence_references = false leaves out": (
                self.silent_lip is not None and not self.silence_references
            ),
            "syncnet names a file, but sync_network is 'avsyncnet'": (
                self.syncnet is not None and self.sync_network == "avsyncnet"
            ),
            "restorer_weights names a file, but restorer is 'none'": (
                self.restorer_weights is not None and self.restorer == "none"
            ),
        }
        found = next((text for text, is_so in contradictions.items() if is_so), None)
        if found is not None:
            raise SettingsError(f"settings contradict each other: {found}: change one of them")


class TalkingFaceStage(GeneratorStage):
    """A `Stage`: all terms of eq. 5, with identity references that the frozen G_S has silenced.

    Every part that table 2 takes away or exchanges is a switch of the settings.

    The paper leaves open which reference d of eq. 4 and I_R of eq. 2 are: here the silenced one, which the
    generator sees and could leak from.
    """

    file_name = "talking_face.safetensors"

    def __init__(
        self,
        corpus: Corpus,
        settings: TalkingFaceTraining,
        compute: Compute,
        *,
        judges: Judges,
        look: Look,
        silent_lip: nn.Module | None,
    ) -> None:
        """silent_lip: G_S, which hears mel windows and takes one reference; None: references as they are."""
        super().__init__(corpus, settings, compute, judges=judges, look=look)
        self.switches = settings
        self.silent_lip = None if silent_lip is None else compute.freeze(silent_lip)
        self._silence = silent_window().to(compute.device)

    @torch.no_grad()
    def identity(self, pictures: Tensor) -> Tensor:
        """What G_S makes of the references when it hears silence: the same faces with closed lips."""
        if self.silent_lip is None:
            return pictures
        silence = self._silence.expand(len(pictures), -1, -1, -1)
        silenced: Tensor = self.silent_lip(silence, pictures[:, None], mask_lower_half(pictures))
        return silenced

    def terms(self, shown: Shown) -> dict[str, Tensor]:
        """The terms of eq. 5 that count."""
        needed = self.settings.coefficients.needed
        terms = super().terms(shown)
        if "sync" in needed:
            terms["sync"] = self._sync_term(shown)
        if "triplet" in needed:
            loss = adaptive_triplet_loss if self.switches.triplet == "adaptive" else vanilla_triplet_loss
            terms["triplet"] = loss(shown.features, shown.generated, shown.targets, shown.references)
        return terms

    def _sync_term(self, shown: Shown) -> Tensor:
        if self.switches.sync_loss == "lip_sync":
            return lip_sync_loss(self._scores(_lips(shown.generated), shown.sync_mel))
        scores = sync_scores(
            self._scores,
            shown.sync_mel,
            generated=_lips(shown.generated),
            target=_lips(shown.targets),
            reference=_lips(shown.references),
        )
        return stabilized_sync_loss(scores)

    def _scores(self, lips: Tensor, mel: Tensor) -> Tensor:
        """AVSIM (eq. 4) by the network that judges: [B]."""
        if self.sync_network is None:
            raise SettingsError("the sync loss needs a sync network")
        cosines: Tensor = self.sync_network(lips, mel)
        return cosines

    def validate(self) -> dict[str, float]:
        """Those of `FaceFigures`, and the mean cosine of the sync network for generated and for real lips."""
        figures = super().validate()
        scores = [self._sync(clip) for clip in self.corpus.validation]
        if scores:
            figures["sync"] = sum(ours for ours, _ in scores) / len(scores)
            figures["sync_real"] = sum(real for _, real in scores) / len(scores)
        return figures

    @torch.no_grad()
    def _sync(self, clip: Clip) -> tuple[float, float]:
        """Mean cosine of the windows of a clip's first 5 s, generated and real."""
        talker, n_frames = self.talker(), min(clip.n_frames, 125) // WINDOW * WINDOW
        crops = clip.crops(list(range(n_frames)))
        closed = crops[clip.openings[:n_frames].argmin()]
        ours = talker.speak(talker.hear(clip, 0)[:n_frames], talker.references(closed, closed), crops)
        starts = [start / FRAMES_PER_SECOND for start in range(0, n_frames, WINDOW)]
        mel = MelWindows(clip.read("mel")).starting(starts).to(self.compute.device)
        generated, real = (
            float(self._scores(_lips(to_network(faces).to(self.compute.device)), mel).mean())
            for faces in (ours, crops)
        )
        return generated, real


def _lips(faces: Tensor) -> Tensor:
    """Faces of windows [B * 5, 3, S, S] -> their lower halves [B, 5, 3, S/2, S]."""
    lips = lower_half(faces)
    return lips.reshape(-1, WINDOW, *lips.shape[1:])
