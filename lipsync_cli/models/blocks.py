"""Blocks of the paper's face networks: face encoding (FE), face decoding (FD), and what they share."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from lipsync_cli.errors import SettingsError

_DOWN = {2: (3, 1), 3: (3, 0)}
"""Stride -> kernel and padding that divide a size by the stride exactly, where it can be divided."""
_UP = {2: (4, 1), 3: (3, 0)}
"""Stride -> kernel and padding that, transposed, multiply a size by the stride exactly."""


def strided(inputs: int, outputs: int, stride: int, *, bias: bool = False) -> nn.Conv2d:
    """A convolution that makes pictures exactly `stride` (2 or 3) times smaller."""
    kernel, padding = _geometry(_DOWN, stride)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def transposed(inputs: int, outputs: int, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that makes pictures exactly `stride` (2 or 3) times larger.

    Its kernel is a multiple of its stride, so that every output pixel sees as many inputs: no chequerboard.
    """
    kernel, padding = _geometry(_UP, stride)
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False)


def convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A 3x3 convolution; 1x1 where the map is one pixel and 8 of 9 weights would only meet the padding."""
    kernel = 3 if size > 1 else 1
    return nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)


def _geometry(table: dict[int, tuple[int, int]], stride: int) -> tuple[int, int]:
    if stride not in table:
        raise SettingsError(f"a stride is 2 or 3, not {stride}")
    return table[stride]


class FEBlock(nn.Module):
    """Face encoding (paper, section 3.3): a strided and two further convolutions, each with norm and ReLU.

    Input and output of the block are summed; as they differ in shape, the input is averaged over the stride
    and brought to the output's depth by a 1x1 convolution. The last ReLU follows the sum.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, size: int) -> None:
        """`size`: height and width of the output, which decides whether its convolutions are 3x3 or 1x1."""
        super().__init__()
        self.body = nn.Sequential(
            strided(inputs, outputs, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs, size),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs, size),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        return cast(Tensor, self.relu(self.body(x) + self.shortcut(x)))


class FDBlock(nn.Sequential):
    """Face decoding (paper, fig. 2b): a transposed and two further convolutions, each with norm and ReLU.

    [B, inputs, H, W] -> [B, outputs, stride * H, stride * W].
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            transposed(inputs, outputs, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Wav2LipConv(nn.Module):
    """The convolution (or transposed one) with batch norm and ReLU of Wav2Lip's networks; names as public.

    `residual` adds the input before the ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int | tuple[int, int] = 1,
        padding: int = 0,
        *,
        residual: bool = False,
        up: bool = False,
    ) -> None:
        super().__init__()
        conv: nn.Module
        if up:
            # a stride of 2 needs one row and column more to double the size exactly
            grown = 0 if stride == 1 else 1
            conv = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, grown)
        else:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H', W'], never negative."""
        y = self.conv_block(x)
        return cast(Tensor, (y + x if self.residual else y).relu())


def residual_convs(channels: int, n: int) -> list[nn.Module]:
    """`n` residual 3x3 `Wav2LipConv` that keep depth and size."""
    return [Wav2LipConv(channels, channels, 3, 1, 1, residual=True) for _ in range(n)]
