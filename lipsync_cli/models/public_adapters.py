"""The public networks behind our protocols: their pictures, masks and windows instead of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.wav2lip import Wav2Lip
from lipsync_cli.regions import resize

_SYNCNET_V2_SIZE = (224, 224)


class Wav2LipGenerator(nn.Module):
    """A `FaceGenerator` that draws with Wav2Lip (Rudrabha/Wav2Lip, inference.py).

    BGR; six channels, the frame with its lower half zeroed and then the frame itself: by the public
    convention the reference is the very frame that is drawn anew. Its mel window starts at the frame. Our
    crop stands in for the public one (the box of the detector S3FD, 10 pixels longer at the chin), which
    holds about the same part of the face.
    """

    image_size = 96
    n_references = 0
    hears = "mel_from_frame"
    scalable = False

    def __init__(self, network: Wav2Lip) -> None:
        super().__init__()
        self.network = network

    def forward(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        """speech [B, 1, 80, 16], references [B, 1, 3, 96, 96] (the frames themselves), pose [B, 3, 96, 96]
        with rows from 48 on zero -> faces [B, 3, 96, 96]; RGB in [0, 1]."""
        stacked = torch.cat([pose.flip(1), references[:, 0].flip(1)], dim=1)
        return cast(Tensor, self.network(speech, stacked)).flip(1)


class SyncNetColorScorer(nn.Module):
    """A `SyncScorer` on Wav2Lip's lip-sync expert: BGR lower halves of 96 x 96 crops, cosine in [0, 1].

    Its window of sound starts with the first of the five frames (`MelWindows.starting`).
    """

    lips_size = (48, 96)

    def __init__(self, network: SyncNetColor) -> None:
        super().__init__()
        self.network = network

    def embed_lips(self, lips: Tensor) -> Tensor:
        """[B, 5, 3, h, w] RGB in [0, 1] -> unit vectors [B, 512]; other sizes are resized."""
        stacked = resize(lips.flip(2).flatten(1, 2), self.lips_size)
        # float32: eight bits of mantissa are too few for a cosine that losses compare to 0.01
        return F.normalize(self.network.face_encoder(stacked).flatten(1).float(), dim=1)

    def embed_speech(self, mel: Tensor) -> Tensor:
        """[B, 1, 80, 16] -> unit vectors [B, 512]."""
        return F.normalize(self.network.audio_encoder(mel).flatten(1).float(), dim=1)

    def forward(self, lips: Tensor, mel: Tensor) -> Tensor:
        """lips [B, 5, 3, h, w], mel [B, 1, 80, 16] -> cosine [B]."""
        return (self.embed_lips(lips) * self.embed_speech(mel)).sum(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncNetSettings:
    """Numbers of `SyncNet`."""

    narrow: int = 1
    """All numbers of channels are divided by this; 1: Wav2Lip's, 16.4 M parameters."""

    def __post_init__(self) -> None:
        if self.narrow not in (1, 2, 4, 8, 16):
            raise SettingsError(f"narrow must be 1, 2, 4, 8 or 16, not {self.narrow}")


class SyncNet(SyncNetColorScorer):
    """SyncNet_color as this program trains it (setup A of table 2): a `SyncScorer`, cosine in [0, 1]."""

    def __init__(self, settings: SyncNetSettings) -> None:
        super().__init__(SyncNetColor(settings.narrow))
        self.settings = settings


class SyncNetV2Scorer(nn.Module):
    """SyncNet v2 (joonson/syncnet_python) scoring five pictures of a face and the sound of their 0.2 s.

    It differs from other `SyncScorer`s as the network does: it takes whole faces (or frames) rather than
    lower halves, cepstra (`speech.mfcc`, 20 columns at 100 Hz) rather than mel, and the score is minus the
    Euclidean distance, in feature units, of which LSE-D and LSE-C are made; higher is better.
    """

    lips_size = _SYNCNET_V2_SIZE

    def __init__(self, network: SyncNetV2) -> None:
        super().__init__()
        self.network = network

    def embed_lips(self, lips: Tensor) -> Tensor:
        """[B, 5, 3, h, w] RGB in [0, 1] -> [B, 1024], not normalised; other sizes are resized."""
        pictures = resize(lips, self.lips_size).flip(2) * 255
        return self.network.embed_lips(pictures.transpose(1, 2))

    def embed_cepstra(self, mfcc: Tensor) -> Tensor:
        """[B, 1, 13, 20] -> [B, 1024], not normalised."""
        return self.network.embed_speech(mfcc)

    def forward(self, lips: Tensor, mfcc: Tensor) -> Tensor:
        """lips [B, 5, 3, h, w], mfcc [B, 1, 13, 20] -> minus the distance [B] (1e-6 added to each
        difference, as the public code's pairwise distance does)."""
        return -F.pairwise_distance(self.embed_lips(lips), self.embed_cepstra(mfcc), eps=1e-6)


class SyncNetV2Cosine(nn.Module):
    """SyncNet v2 as the other sync networks are asked: by the cosine of its two features, in [-1, 1].

    It was trained for their Euclidean distance, of which LSE-D and LSE-C are made; the cosine puts it on the
    same scale as networks of unit vectors. It sees crops of faces, not lower halves, and hears cepstra.
    """

    lips_size = _SYNCNET_V2_SIZE

    def __init__(self, network: SyncNetV2) -> None:
        super().__init__()
        self._scorer = SyncNetV2Scorer(network)

    def embed_lips(self, lips: Tensor) -> Tensor:
        """[B, 5, 3, h, w] RGB in [0, 1] -> unit vectors [B, 1024]."""
        return F.normalize(self._scorer.embed_lips(lips), dim=1)

    def embed_speech(self, mfcc: Tensor) -> Tensor:
        """[B, 1, 13, 20] -> unit vectors [B, 1024]."""
        return F.normalize(self._scorer.embed_cepstra(mfcc), dim=1)

    def forward(self, lips: Tensor, mfcc: Tensor) -> Tensor:
        """lips [B, 5, 3, h, w], mfcc [B, 1, 13, 20] -> cosine [B]."""
        return (self.embed_lips(lips) * self.embed_speech(mfcc)).sum(dim=1)
