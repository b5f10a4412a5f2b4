"""Batch norms folded into the convolutions before them: the same arithmetic in fewer steps, to infer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def fold_norms(network: Network) -> Network:
    """The same network, changed in place: y = BN(conv(x)) has become one convolution wherever it stood so.

    Pairs are found side by side in an `nn.Sequential`, and where a module names them in `folds`, a tuple of
    (convolution, norm) attributes. The network must be in eval mode (ValueError); it cannot be trained, nor
    saved as a checkpoint, afterwards. Answers differ by rounding only.
    """
    for module in list(network.modules()):
        for conv_name, norm_name in _pairs(module):
            convolution, norm = getattr(module, conv_name), getattr(module, norm_name)
            if norm.training:
                raise ValueError("norms can be folded in eval mode only")
            folded = fuse_conv_bn_eval(
                convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d)
            )
            setattr(module, conv_name, folded)
            setattr(module, norm_name, nn.Identity())
    return network


def store_weights_as(network: Network, dtype: torch.dtype) -> Network:
    """The same network, with the weights of its convolutions and linear layers in the type that they are
    computed in: under autocast they are otherwise converted anew in every call."""
    for module in network.modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            module.to(dtype)
    return network


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a module's convolutions and of the batch norms that directly follow them."""
    yield from getattr(module, "folds", ())
    if isinstance(module, nn.Sequential):
        for (name, layer), (next_name, following) in pairwise(module.named_children()):
            if isinstance(layer, _CONVOLUTIONS) and isinstance(following, nn.BatchNorm2d):
                yield name, next_name
