"""Where a stage computes, how precisely, and together with how many other processes (Lightning Fabric).

Fabric brings the device, the precision, the processes that `torchrun` started, and what they tell each other.
Its wrapper for data-parallel modules is not used: stages call several methods of a network before they go
back, and take turns between generator and discriminator. `Compute.update` averages gradients over the
processes itself, which is what that wrapper does; `parallel.py` makes batch norms see all processes' samples.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lipsync_cli.device import resolve_precision
from lipsync_cli.errors import SettingsError
from lipsync_cli.training.parallel import share_batch_norms

Network = TypeVar("Network", bound=nn.Module)
_PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed"}


class Compute:
    """One process of a training; weights, losses and optimizers are float32, networks compute in `dtype`.

    Args:
        device: where; a process among several on one machine gets the device of its place there.
        dtype: float32, or bfloat16 inside `autocast` blocks.
    """

    def __init__(self, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> None:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells which precision it takes
        kind = (device or torch.device("cpu")).type
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        in_all = int(os.environ.get("WORLD_SIZE", "1"))
        self.dtype = dtype
        self.fabric = Fabric(
            accelerator=kind,
            devices=here,
            num_nodes=in_all // here,
            strategy="ddp" if in_all > 1 else "auto",
            precision=_PRECISIONS[dtype],  # type: ignore[arg-type]
        )
        self.fabric.launch()
        self.device = self.fabric.device
        self.n_processes = self.fabric.world_size
        self.place_among = self.fabric.global_rank
        self._parts, self._is_last_part = 1, True
        self._backward_seconds = 0.0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that validates, saves and tells."""
        return self.place_among == 0

    def place(self, network: Network) -> Network:
        """The network on the device, channels last, batch norms over all processes."""
        if self.n_processes > 1:
            network = share_batch_norms(network, self.device.type)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def freeze(self, network: Network) -> Network:
        """The network on the device, in eval mode and without gradients: it judges and is not trained."""
        placed = network.to(self.device).to(memory_format=torch.channels_last)
        return placed.eval().requires_grad_(False)

    def autocast(self) -> AbstractContextManager[object]:
        """Networks inside this block compute in `dtype`."""
        return nullcontext() if self.dtype is torch.float32 else self.fabric.autocast()

    def begin_part(self, part: int, parts: int) -> None:
        """Say which of the parts of a step's batch comes now; weights change at the last one."""
        self._parts, self._is_last_part = parts, part == parts - 1

    def update(
        self, loss: Tensor, optimizer: Optimizer, *, clip: float = 0.0, clipped: nn.Module | None = None
    ) -> bool:
        """Go back from the loss [] and, at the last part of a step, change what the optimizer holds.

        Gradients are means over the parts and over the processes. clip: largest norm of the gradients of
        `clipped` (None: of all that the optimizer holds) together; 0: any. Returns whether the weights have
        changed; gradients are gone then.
        """
        self._wait()
        began = time.perf_counter()
        self.fabric.backward(loss / self._parts if self._parts > 1 else loss)
        if self._is_last_part:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            self._average([weight.grad for weight in weights if weight.grad is not None])
            if clip:
                nn.utils.clip_grad_norm_(weights if clipped is None else clipped.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        self._wait()
        self._backward_seconds += time.perf_counter() - began
        return self._is_last_part

    def take_backward_seconds(self) -> float:
        """Seconds in `update` since this was asked last."""
        taken, self._backward_seconds = self._backward_seconds, 0.0
        return taken

    def gather(self, rows: Tensor) -> Tensor:
        """Rows [B, ...] of all processes [P * B, ...], in their order, with gradients."""
        if self.n_processes == 1:
            return rows
        gathered = self.fabric.all_gather(rows, sync_grads=True)
        if not isinstance(gathered, Tensor):
            raise TypeError("rows must be one tensor")
        return gathered.flatten(0, 1)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the processes; the names must be the same in all of them."""
        if self.n_processes == 1:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        if self.device.type != "cpu":
            sums = sums.float().to(self.device)
        torch.distributed.all_reduce(sums)
        return dict(zip(values, (sums / self.n_processes).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process: so all stop at the same step."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def meet(self) -> None:
        """Wait for all processes."""
        self.fabric.barrier()

    def _average(self, gradients: list[Tensor]) -> None:
        if self.n_processes == 1 or not gradients:
            return
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(joined)
        joined /= self.n_processes
        pieces = torch.split(joined, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def _wait(self) -> None:
        """Until the device has done what it was given: else its time would count for what comes next."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize()


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """As `resolve_precision`, but never float16, whose gradients vanish unless losses are scaled.

    Raises SettingsError for fp16 and for unknown names.
    """
    if name == "fp16":
        raise SettingsError("fp16 is not offered for training (its gradients vanish): use bf16 or fp32")
    dtype = resolve_precision(name, device)
    return torch.float32 if dtype is torch.float16 else dtype
