"""The default face generator: moves the speaker's own pixels instead of painting a face anew.

Not of the paper; it takes the place of its U-Net where that cannot be trained at length. Speech reaches
every scale of the decoder (FiLM), which puts out a flow and a soft mask for each reference picture and a
painted picture; the face is the sum of masked warped references and masked paint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.lip_predictor import FURTHER_STEPS, N_MOVEMENTS, LipPredictor, LipPredictorSettings
from lipsync_cli.models.mixing import with_contrast_of
from lipsync_cli.models.moving import moved
from lipsync_cli.models.resizing import enlarging

_PAINT = 3
_PIXELS = 5 * 192 * 192  # that are composed at once in eval mode: what is in between stays in the caches
_UNSHUFFLE = 2  # pictures enter, and paint and masks leave, at half resolution with four times the channels


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEncoderSettings:
    """Numbers of `SpeechEncoder`."""

    n_steps: int = 10
    """Steps of the speech embedding (40 ms each) around a frame."""
    predictor: LipPredictorSettings | None = None
    """What predicts the lips' movement from further steps on either side; None: nothing does."""
    inputs: int = 384
    """Numbers of one step."""
    step_width: int = 96
    """Numbers kept of each step."""
    width: int = 256
    """Hidden units over all steps."""
    outputs: int = 128
    """Length of the vector that modulates the decoder."""
    dropout: float = 0.2
    """Share of the steps' numbers that are dropped in training."""
    predicted_alone: float = 0.0
    """Share of the samples that in training hear nothing but what the predictor says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpingGeneratorSettings:
    """Numbers of `WarpingFaceGenerator`."""

    image_size: int = 96
    """S, pixels; a multiple of 16."""
    widths: tuple[int, ...] = (32, 64, 128, 192)
    """Channels at S/2, S/4, S/8, ..."""
    bottleneck_depth: int = 2
    """Residual blocks at the lowest resolution."""
    speech: SpeechEncoderSettings = field(default_factory=SpeechEncoderSettings)
    """What the generator hears."""

    def __post_init__(self) -> None:
        step = _UNSHUFFLE * 2 ** (len(self.widths) - 1)
        if self.image_size % step:
            raise SettingsError(f"image_size {self.image_size} is not a multiple of {step}")


class SpeechEncoder(nn.Module):
    """From the steps of the speech embedding around a frame to one vector.

    With a predictor of the lips' movement, which is trained before and stays as it is, its answers for the
    frame and four on either side are heard too, by hidden units that begin as if they were not.
    """

    def __init__(self, settings: SpeechEncoderSettings) -> None:
        super().__init__()
        self.n_steps = settings.n_steps
        self.predicted_alone = settings.predicted_alone
        self.predictor = None
        if settings.predictor is not None:
            self.predictor = LipPredictor(settings.predictor).requires_grad_(False)
            self.predicted = nn.Linear((settings.n_steps - 1) * N_MOVEMENTS, settings.width, bias=False)
            nn.init.zeros_(self.predicted.weight)
        self.normalise = nn.BatchNorm1d(settings.inputs, affine=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.step = nn.Linear(settings.inputs, settings.step_width)
        self.hidden = nn.Linear(settings.n_steps * settings.step_width, settings.width)
        self.out = nn.Linear(settings.width, settings.outputs)

    def forward(self, speech: Tensor) -> Tensor:
        """[B, n_steps + 2 further, inputs] -> [B, outputs]."""
        middle = speech[:, self.further : self.further + self.n_steps]
        x = self.normalise(middle.flatten(0, 1)).unflatten(0, middle.shape[:2])
        if self.training and self.predicted_alone:
            x = x * (torch.rand(len(x), 1, 1, device=x.device) >= self.predicted_alone)
        x = F.relu(self.step(self.dropout(x))).flatten(1)
        x = self.hidden(self.dropout(x))
        if self.predictor is not None:
            # In float32: windows that share their work gain nothing by bfloat16, for which torch keeps 45 MB.
            with torch.no_grad(), torch.autocast(speech.device.type, enabled=False):
                movement = self.predictor.of_windows(speech.float())
            x = x + self.predicted(movement.flatten(1))
        return F.relu(self.out(F.relu(x)))

    @property
    def further(self) -> int:
        """Steps that are heard on either side of the `n_steps`."""
        return 0 if self.predictor is None else FURTHER_STEPS

    def train(self, mode: bool = True) -> Self:
        """The predictor does not learn here."""
        super().train(mode)
        if self.predictor is not None:
            self.predictor.eval()
        return self


class SpokenBlock(nn.Module):
    """Residual block whose first half is scaled and shifted by the speech (FiLM after affine-free BN)."""

    folds = (("conv1", "norm1"), ("conv2", "norm2"))
    """Norms that directly follow a convolution (`fused.fold_norms`)."""

    def __init__(self, width: int, speech_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width, affine=False)
        self.modulation = nn.Linear(speech_width, 2 * width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, speech: Tensor) -> Tensor:
        """x [B, width, h, w], speech [B, speech_width] -> [B, width, h, w]."""
        scale, shift = self.modulation(speech)[..., None, None].chunk(2, dim=1)
        y = F.relu(self.norm1(self.conv1(x)) * (1 + scale) + shift)
        return F.relu(x + self.norm2(self.conv2(y)))


class PlainBlock(nn.Module):
    """A convolution (stride 1 or 2) and a residual block, BN and ReLU throughout."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, width, h / stride, w / stride]."""
        x = self.enter(x)
        return F.relu(x + self.inner(x))


class SpokenUpBlock(nn.Module):
    """Doubles the resolution, joins the encoder's map, and lets the speech in."""

    def __init__(self, inputs: int, skip: int, width: int, speech_width: int) -> None:
        super().__init__()
        self.join = nn.Sequential(
            nn.Conv2d(inputs + skip, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.spoken = SpokenBlock(width, speech_width)

    def forward(self, x: Tensor, skip: Tensor, speech: Tensor) -> Tensor:
        """x [B, inputs, h, w], skip [B, skip, 2h, 2w] -> [B, width, 2h, 2w]."""
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return cast(Tensor, self.spoken(self.join(torch.cat([x, skip], dim=1)), speech))


@dataclass(frozen=True)
class Motion:
    """What the network decides, at its own size S."""

    flows: Tensor
    """[B, 2 references, 2, S/2, S/2] displacement (x, y), 2 = the picture's whole side."""
    mask_logits: Tensor
    """[B, 3, S, S] closed reference, open reference, paint."""
    paint: Tensor
    """[B, 3, S, S] in [0, 1]."""

    def of(self, part: slice) -> Motion:
        """That of some of the B frames."""
        return Motion(self.flows[part], self.mask_logits[part], self.paint[part])


class WarpingFaceGenerator(nn.Module):
    """`FaceGenerator` in both roles, G_S (fed silence) and G_L.

    It looks at S x S pictures. References and pose of k * S are looked at reduced to S, while flows and masks
    are enlarged and move the references' own pixels: detail that S cannot hold stays. In training they are
    read by linear interpolation, in eval mode by cubic, which is sharper, and the contrast that mixing takes
    away is given back. The upper half of the answer is the pose's own.
    """

    n_references = 2
    scalable = True

    def __init__(self, settings: WarpingGeneratorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_size = settings.image_size
        self.hears = "speech_embedding" if settings.speech.predictor is None else "speech_embedding_wide"
        widths, spoken = settings.widths, settings.speech.outputs
        self.speech_encoder = SpeechEncoder(settings.speech)
        inputs = 3 * (self.n_references + 1) * _UNSHUFFLE**2
        self.encoder = nn.ModuleList()
        for level, width in enumerate(widths):
            self.encoder.append(PlainBlock(inputs, width, 1 if level == 0 else 2))
            inputs = width
        self.bottleneck = nn.ModuleList(SpokenBlock(inputs, spoken) for _ in range(settings.bottleneck_depth))
        self.decoder = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.decoder.append(SpokenUpBlock(inputs, width, width, spoken))
            inputs = width
        n_layers = self.n_references + 1
        self._splits = [_PAINT * _UNSHUFFLE**2, n_layers * _UNSHUFFLE**2, 2 * self.n_references]
        self.head = nn.Conv2d(inputs, sum(self._splits), 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        """speech [B, 10, 384] (with a predictor [B, 40, 384]), references [B, 2, 3, kS, kS] (closed, open),
        pose [B, 3, kS, kS] with its lower half zero, in [0, 1] -> faces [B, 3, kS, kS] in [0, 1]."""
        motion = self.motion(speech, references, pose)
        step = len(pose) if self.training else max(1, _PIXELS // pose.shape[-1] ** 2)
        parts = [slice(start, start + step) for start in range(0, len(pose), step)]
        faces = [self.compose(motion.of(part), references[part], pose[part]) for part in parts]
        return faces[0] if len(faces) == 1 else torch.cat(faces)

    def motion(self, speech: Tensor, references: Tensor, pose: Tensor) -> Motion:
        """Flows, masks and paint at the network's own size; arguments as forward."""
        is_shared = references.stride(0) == 0  # one set of references for the whole batch: reduced once
        looked_at = references[:1] if is_shared else references
        small = self._at_own_size(looked_at.flatten(1, 2)).expand(len(pose), -1, -1, -1)
        upper = self._at_own_size(pose[:, :, : pose.shape[-1] // 2])
        pictures = torch.cat([small, F.pad(upper, (0, 0, 0, self.image_size - upper.shape[-2]))], dim=1)
        z = self.speech_encoder(speech)
        x, skips = F.pixel_unshuffle(pictures, _UNSHUFFLE), []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        for block in self.bottleneck:
            x = block(x, z)
        for decode, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = decode(x, skip, z)
        paint, masks, flows = self.head(x).float().split(self._splits, dim=1)
        prior = torch.zeros_like(masks[:, :1]).repeat(1, self.n_references + 1, 2, 2)
        prior[:, 0] = 1  # the closed reference is the first guess
        return Motion(
            flows=flows.unflatten(1, (self.n_references, 2)) * 0.5,
            mask_logits=F.pixel_shuffle(masks, _UNSHUFFLE) * 2 + prior,
            paint=torch.sigmoid(F.pixel_shuffle(paint, _UNSHUFFLE) * 4),
        )

    def compose(self, motion: Motion, references: Tensor, pose: Tensor) -> Tensor:
        """Move, mask and add up at the size of the references; the upper half stays the pose's own."""
        size = references.shape[-1]
        flows = _lower_enlarged(motion.flows.flatten(1, 2), size, "bilinear")
        shares = _lower_enlarged(motion.mask_logits, size, "bilinear").softmax(dim=1)
        base = _identity_grid(size, references.device)[:, size // 2 :]
        face = shares[:, -1:] * _lower_enlarged(motion.paint, size, "bicubic").clamp(0, 1)
        pictures = []
        for i in range(self.n_references):
            grid = base + flows[:, 2 * i : 2 * i + 2].permute(0, 2, 3, 1)
            pictures.append(moved(references[:, i], grid, sharp=not self.training))
            face = torch.addcmul(face, shares[:, i : i + 1], pictures[i])
        if not self.training:
            face = with_contrast_of(pictures, shares[:, :-1], face)
        return torch.cat([pose[:, :, : size // 2].to(face.dtype), face], dim=2)

    def _at_own_size(self, pictures: Tensor) -> Tensor:
        """[B, C, rows * k, kS] -> [B, C, rows, S], averaged."""
        height, width = pictures.shape[-2:]
        if width == self.image_size:
            return pictures
        size = height * self.image_size // width, self.image_size
        return F.interpolate(pictures.contiguous(), size=size, mode="area")


def _lower_enlarged(maps: Tensor, size: int, mode: str) -> Tensor:
    """Lower half of `maps` [B, C, s, s] enlarged to [B, C, size, size], float32; the upper is not computed.

    As `F.interpolate` does it, by its two matrices: in a quarter to two thirds of the time.
    """
    n = maps.shape[-1]
    if n == size:
        return maps[:, :, size // 2 :]
    across = enlarging(n, size, mode, maps.device)
    down = across[size // 2 :]
    first = int(down.any(dim=0).nonzero()[0])  # rows above are in none of the sums
    with torch.autocast(maps.device.type, enabled=False):
        return down[:, first:] @ (maps[:, :, first:].float() @ across.T)


def _identity_grid(size: int, device: torch.device) -> Tensor:
    """[1, size, size, 2]: every pixel's own place (x, y) in [-1, 1], corners aligned."""
    line = torch.linspace(-1, 1, size, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]
