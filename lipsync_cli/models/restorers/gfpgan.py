"""GFPGAN v1.3 and v1.4 (TencentARC/GFPGAN, GFPGANv1Clean) for their public weights; Wang et al., CVPR 2021.

A U-Net finds style codes and, for each size of map, a scale and a shift (SFT) that steer a StyleGAN2.
"""

from __future__ import annotations

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
    doubled,
    halved,
    modulated_weight,
)

_SIDES = tuple(side for side in DEPTHS if side > 4)
"""Maps that are drawn in steps, smallest first: 8 to 512."""


class GFPGAN(nn.Module):
    """Names and arithmetic of the public network (512 pixels, channel multiplier 2, SFT on half of the depth,
    a style of its own for each layer)."""

    def __init__(self) -> None:
        super().__init__()
        # The U-Net has half of the generator's depths.
        depths = {side: depth // 2 for side, depth in DEPTHS.items()}
        down = [(depths[side], depths[side // 2]) for side in reversed(_SIDES)]
        up = [(depths[side // 2], depths[side]) for side in _SIDES]
        self.conv_body_first = nn.Conv2d(3, depths[SIZE], 1)
        self.conv_body_down = nn.ModuleList([_Residual(*pair, up=False) for pair in down])
        self.final_conv = nn.Conv2d(depths[4], depths[4], 3, 1, 1)
        self.conv_body_up = nn.ModuleList([_Residual(*pair, up=True) for pair in up])
        # Pictures of the U-Net's own, used in its training only.
        self.toRGB = nn.ModuleList([nn.Conv2d(depths[side], 3, 1) for side in _SIDES])
        self.n_styles = 2 * len(_SIDES) + 2
        self.final_linear = nn.Linear(depths[4] * 16, self.n_styles * STYLE)
        self.stylegan_decoder = _Generator()
        self.condition_scale = nn.ModuleList([_condition(depths[side]) for side in _SIDES])
        self.condition_shift = nn.ModuleList([_condition(depths[side]) for side in _SIDES])

    def forward(self, faces: Tensor) -> Tensor:
        """faces [B, 3, 512, 512], RGB in [-1, 1], aligned -> restored, same shape, about in [-1, 1].

        The noise is the weights' own, not drawn anew: the same face gives the same picture.
        """
        x = F.leaky_relu(self.conv_body_first(faces), SLOPE)
        maps: list[Tensor] = []
        for layer in self.conv_body_down:
            x = layer(x)
            maps.append(x)
        x = F.leaky_relu(self.final_conv(x), SLOPE)
        styles = self.final_linear(x.flatten(1)).reshape(len(x), self.n_styles, STYLE)
        conditions: list[tuple[Tensor, Tensor]] = []
        layers = zip(self.conv_body_up, self.condition_scale, self.condition_shift, strict=True)
        for layer, scale, shift in layers:
            x = layer(x + maps.pop())
            conditions.append((scale(x), shift(x)))
        return cast(Tensor, self.stylegan_decoder(styles, conditions))


class _Residual(nn.Module):
    """Two convolutions around a bilinear change of size by two, and a 1x1 one around both."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, 1, 1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self._resize = doubled if up else halved

    def forward(self, x: Tensor) -> Tensor:
        inner = self._resize(F.leaky_relu(self.conv1(x), SLOPE))
        inner = F.leaky_relu(self.conv2(inner), SLOPE)
        return cast(Tensor, inner + self.skip(self._resize(x)))


def _condition(depth: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(depth, depth, 3, 1, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(depth, depth, 3, 1, 1)
    )


class _ModulatedConv(nn.Module):
    """A convolution whose kernels a style scales."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel) / (inputs**0.5 * kernel))
        self.modulation = nn.Linear(STYLE, inputs)
        self._demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = modulated_weight(self.weight, self.modulation(style), demodulate=self._demodulate)
        return convolve_each(x, weight)


class _StyleConv(nn.Module):
    """Modulated 3x3 convolution (after an enlargement by two, if asked for), noise, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.modulated_conv = _ModulatedConv(inputs, outputs, 3, demodulate=True)
        self.weight = nn.Parameter(torch.zeros(1))  # of the noise
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        self._up = up

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        convolved = self.modulated_conv(doubled(x) if self._up else x, style) * 2**0.5
        return F.leaky_relu(convolved + self.weight * noise + self.bias, SLOPE)


class _ToPicture(nn.Module):
    """What a map adds to the picture, which is enlarged to the map's size."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.modulated_conv = _ModulatedConv(depth, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, picture: Tensor | None) -> Tensor:
        own = self.modulated_conv(x, style) + self.bias
        return cast(Tensor, own if picture is None else own + doubled(picture))


class _Generator(nn.Module):
    """StyleGAN2 with SFT: styles [B, 16, 512], a scale and a shift for each side -> pictures."""

    def __init__(self) -> None:
        super().__init__()
        mlp: list[nn.Module] = [nn.Identity()]  # the public weights have it; restoration starts behind it
        for _ in range(8):
            mlp += [nn.Linear(STYLE, STYLE), nn.LeakyReLU(SLOPE)]
        self.style_mlp = nn.Sequential(*mlp)
        self.constant_input = nn.ParameterDict({"weight": torch.randn(1, DEPTHS[4], 4, 4)})
        self.style_conv1 = _StyleConv(DEPTHS[4], DEPTHS[4], up=False)
        self.to_rgb1 = _ToPicture(DEPTHS[4])
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = nn.Module()
        self.noises.register_buffer("noise0", torch.randn(1, 1, 4, 4))
        for i, side in enumerate(_SIDES):
            self.style_convs.append(_StyleConv(DEPTHS[side // 2], DEPTHS[side], up=True))
            self.style_convs.append(_StyleConv(DEPTHS[side], DEPTHS[side], up=False))
            self.to_rgbs.append(_ToPicture(DEPTHS[side]))
            for number in (2 * i + 1, 2 * i + 2):
                self.noises.register_buffer(f"noise{number}", torch.randn(1, 1, side, side))

    def forward(self, styles: Tensor, conditions: list[tuple[Tensor, Tensor]]) -> Tensor:
        x = self.constant_input["weight"].expand(len(styles), -1, -1, -1)
        x = self.style_conv1(x, styles[:, 0], self._noise(0))
        picture = self.to_rgb1(x, styles[:, 1], None)
        for i, (scale, shift) in enumerate(conditions):
            first = (
                2 * i + 1
            )  # of the styles and noises of this side; the last style serves the next side too
            x = self.style_convs[2 * i](x, styles[:, first], self._noise(first))
            same, steered = x.chunk(2, dim=1)
            x = torch.cat([same, steered * scale + shift], dim=1)
            x = self.style_convs[2 * i + 1](x, styles[:, first + 1], self._noise(first + 1))
            picture = self.to_rgbs[i](x, styles[:, first + 2], picture)
        return cast(Tensor, picture)

    def _noise(self, number: int) -> Tensor:
        return self.noises.get_buffer(f"noise{number}")
