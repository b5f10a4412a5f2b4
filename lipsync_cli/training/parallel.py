"""Batch norm over the samples of all processes.

With it a step of P processes is that of one process with P times the batch, to the rounding. On CUDA it is
torch's SyncBatchNorm, which knows no CPU; elsewhere the same arithmetic through differentiable sums.
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.nn import functional as collective

Network = TypeVar("Network", bound=nn.Module)


def share_batch_norms(network: Network, device: str) -> Network:
    """The network with its batch norms, which keep weights and statistics, over all processes."""
    if device == "cuda":
        return cast(Network, nn.SyncBatchNorm.convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]
    if isinstance(network, nn.BatchNorm1d | nn.BatchNorm2d):
        return cast(Network, _shared(network))
    for name, child in network.named_children():
        network.add_module(name, share_batch_norms(child, device))
    return network


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`nn.BatchNorm` whose mean and variance are those of the samples of all processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape; B may differ between processes."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        over = [0, *range(2, x.dim())]
        n_own = wide.new_full((1,), x.numel() / x.shape[1])
        count, total = torch.split(_sum(torch.cat([n_own, wide.sum(over)])), [1, x.shape[1]])
        mean = total / count
        shape = [1, -1, *[1] * (x.dim() - 2)]
        centred = wide - mean.view(shape)
        # in a second message: squares of what is not centred would cancel
        variance = _sum(centred.square().sum(over)) / count
        self._follow(mean.detach(), variance.detach() * (count / (count - 1)).detach())
        scale = (variance + self.eps).rsqrt()
        y = centred * scale.view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _sum(own: Tensor) -> Tensor:
    """Over the processes, with gradients."""
    total: Tensor = collective.all_reduce(own)  # type: ignore[no-untyped-call]
    return total


def _shared(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> SharedBatchNorm:
    shared = SharedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    shared.load_state_dict(norm.state_dict())
    return shared.train(norm.training)
