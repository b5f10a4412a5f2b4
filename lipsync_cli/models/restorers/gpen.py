"""GPEN-BFR-512 (yangxy/GPEN, FullGenerator) for its public weights; Yang et al., CVPR 2021.

An encoder whose maps stand in for the noise of a StyleGAN2: each is laid beside the generator's own map.
Proved on an output of the public code (tests/models/test_gpen.py).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.models.restorers.style_layers import (
    DEPTHS,
    SIZE,
    SLOPE,
    STYLE,
    convolve_each,
    modulated_weight,
)

_SIDES = tuple(side for side in DEPTHS if side > 4)
_MAPPING_RATE = 0.01
"""Learning rate multiplier of the mapping network: its weights are kept this many times too large."""


class GPEN(nn.Module):
    """Names and arithmetic of the public network (512 pixels, channel multiplier 2, maps concatenated)."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = _Generator()
        self.ecd0 = nn.Sequential(_EncoderLayer(3, DEPTHS[SIZE], 1, down=False))
        for i, side in enumerate(reversed(_SIDES)):
            layer = _EncoderLayer(DEPTHS[side], DEPTHS[side // 2], 3, down=True)
            self.add_module(f"ecd{i + 1}", nn.Sequential(layer))
        self.final_linear = nn.Sequential(_EqualLinear(DEPTHS[4] * 16, STYLE, activate=True))

    def forward(self, faces: Tensor) -> Tensor:
        """faces [B, 3, 512, 512], RGB in [-1, 1], aligned -> restored, same shape, about in [-1, 1]."""
        x = faces
        maps: list[Tensor] = []
        for i in range(len(_SIDES) + 1):
            x = self.get_submodule(f"ecd{i}")(x)
            maps.append(x)
        return cast(Tensor, self.generator(self.final_linear(x.flatten(1)), maps[::-1]))


class _EqualLinear(nn.Module):
    """A linear layer whose weights are kept as unit normals and scaled when used."""

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._scale = rate / math.sqrt(inputs)
        self._rate = rate
        self._activate = activate

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight * self._scale, self.bias * self._rate)
        return _leaky(out) if self._activate else out


class _EqualConv(nn.Module):
    """A convolution without bias whose weights are kept as unit normals."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self._scale = 1 / math.sqrt(inputs * kernel**2)
        self._stride, self._padding = (2, 0) if down else (1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self._scale, stride=self._stride, padding=self._padding)


class _Bias(nn.Module):
    """Bias and leaky ReLU in one."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(depth))

    def forward(self, x: Tensor) -> Tensor:
        return _leaky(x + self.bias[:, None, None])


class _Blur(nn.Module):
    """The binomial filter 1 3 3 1 in both directions; `gain` is its sum."""

    kernel: Tensor

    def __init__(self, before: int, after: int, gain: float) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", taps[:, None] * taps / taps.sum() ** 2 * gain)
        self._padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        depth = x.shape[1]
        kernel = self.kernel.flip(0, 1).expand(depth, 1, 4, 4)
        return F.conv2d(F.pad(x, self._padding), kernel, groups=depth)


class _Enlarge(_Blur):
    """Twice the size: zeros in between, then the filter."""

    def __init__(self) -> None:
        super().__init__(2, 1, gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, depth, height, width = x.shape
        spread = x.new_zeros(batch, depth, 2 * height, 2 * width)
        spread[..., ::2, ::2] = x
        return super().forward(spread)


class _EncoderLayer(nn.Sequential):
    """Convolution (after a blur, where it halves the map), bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool) -> None:
        blur = [_Blur(2, 2, gain=1.0)] if down else []
        super().__init__(*blur, _EqualConv(inputs, outputs, kernel, down=down), _Bias(outputs))


class _ModulatedConv(nn.Module):
    """A convolution whose kernels a style scales; `up` doubles the map."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        if up:
            self.blur = _Blur(1, 1, gain=4.0)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = _EqualLinear(STYLE, inputs)
        self._scale = 1 / math.sqrt(inputs * kernel**2)
        self._demodulate = demodulate
        self._up = up

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        style = self.modulation(style)
        weight = modulated_weight(self._scale * self.weight, style, demodulate=self._demodulate)
        if not self._up:
            return convolve_each(x, weight)
        batch, outputs = weight.shape[:2]
        height, width = x.shape[-2:]
        doubled = F.conv_transpose2d(
            x.reshape(1, -1, height, width), weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch
        )
        return cast(Tensor, self.blur(doubled.reshape(batch, outputs, 2 * height + 1, 2 * width + 1)))


class _StyledConv(nn.Module):
    """Modulated convolution, a map of the encoder beside it (scaled), bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.conv = _ModulatedConv(inputs, outputs, 3, up=up)
        self.noise = nn.ParameterDict({"weight": torch.zeros(1)})
        self.activate = _Bias(2 * outputs)

    def forward(self, x: Tensor, style: Tensor, seen: Tensor) -> Tensor:
        joined = torch.cat([self.conv(x, style), self.noise["weight"] * seen], dim=1)
        return cast(Tensor, self.activate(joined))


class _ToPicture(nn.Module):
    """What a map adds to the picture, which is enlarged to the map's size."""

    def __init__(self, depth: int, *, enlarges: bool) -> None:
        super().__init__()
        if enlarges:
            self.upsample = _Enlarge()
        self.conv = _ModulatedConv(depth, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, picture: Tensor | None) -> Tensor:
        own = self.conv(x, style) + self.bias
        return cast(Tensor, own if picture is None else own + self.upsample(picture))


class _Generator(nn.Module):
    """StyleGAN2: code [B, 512] and the encoder's maps (4 to 512 pixels) -> pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.style = nn.Sequential(
            _Normalise(), *[_EqualLinear(STYLE, STYLE, rate=_MAPPING_RATE, activate=True) for _ in range(8)]
        )
        self.input = nn.ParameterDict({"input": torch.randn(1, DEPTHS[4], 4, 4)})
        self.conv1 = _StyledConv(DEPTHS[4], DEPTHS[4], up=False)
        self.to_rgb1 = _ToPicture(2 * DEPTHS[4], enlarges=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for side in _SIDES:
            self.convs.append(_StyledConv(2 * DEPTHS[side // 2], DEPTHS[side], up=True))
            self.convs.append(_StyledConv(2 * DEPTHS[side], DEPTHS[side], up=False))
            self.to_rgbs.append(_ToPicture(2 * DEPTHS[side], enlarges=True))

    def forward(self, code: Tensor, maps: list[Tensor]) -> Tensor:
        style = self.style(code)
        x = self.input["input"].expand(len(code), -1, -1, -1)
        x = self.conv1(x, style, maps[0])
        picture = self.to_rgb1(x, style, None)
        for i, seen in enumerate(maps[1:]):
            x = self.convs[2 * i](x, style, seen)
            x = self.convs[2 * i + 1](x, style, seen)
            picture = self.to_rgbs[i](x, style, picture)
        return cast(Tensor, picture)


class _Normalise(nn.Module):
    """Codes to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)
