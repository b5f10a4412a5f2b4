"""Where a stage computes, and how precisely."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn

from lipsync_cli.device import resolve_precision
from lipsync_cli.errors import SettingsError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, and the type in which networks compute there; weights, losses and optimizers are float32."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def place(self, network: Network) -> Network:
        """The network on the device, its kernels with the channels last."""
        return network.to(self.device).to(memory_format=torch.channels_last)

    def freeze(self, network: Network) -> Network:
        """The network on the device, in eval mode and without gradients: it judges and is not trained."""
        return self.place(network).eval().requires_grad_(False)

    def autocast(self) -> AbstractContextManager[object]:
        """Networks inside this block compute in `dtype`."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """As `resolve_precision`, but never float16, whose gradients vanish unless losses are scaled.

    Raises SettingsError for fp16 and for unknown names.
    """
    if name == "fp16":
        raise SettingsError("fp16 is not offered for training (its gradients vanish): use bf16 or fp32")
    dtype = resolve_precision(name, device)
    return torch.float32 if dtype is torch.float16 else dtype
