"""Weights and inputs that a rule makes from names, so that only the outputs of public networks are kept.

The rule is the one by which the arrays in golden/ were made from the public code (float32, CPU).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


class GoldenRule:
    """How the weights and inputs behind the golden arrays were made, and how outputs are compared."""

    @staticmethod
    def generator(name: str) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(name.encode()), 0])

    @staticmethod
    def weight(key: str, shape: tuple[int, ...], gain: float) -> NDArray[np.float32]:
        n = GoldenRule.generator(key).standard_normal(shape).astype(np.float32)
        last = key.rpartition(".")[2]
        if last == "num_batches_tracked":
            return np.zeros(shape, np.float32)
        if last == "running_mean":
            return 0.1 * n
        if last == "running_var":
            return 1 + 0.1 * np.abs(n)
        if "embedding" in last:
            return n
        if len(shape) >= 2:
            return n * np.float32(gain * np.sqrt(2 / np.prod(shape[1:])))
        return 1 + 0.05 * n if last == "weight" else 0.05 * n

    @staticmethod
    def fill(network: nn.Module, gain: float = 1.0) -> nn.Module:
        """The network with the rule's weights, in eval mode."""
        state = {
            key: torch.as_tensor(GoldenRule.weight(key, tuple(value.shape), gain)).to(value.dtype)
            for key, value in network.state_dict().items()
        }
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)

    @staticmethod
    def inputs(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.from_numpy(
            (low + (high - low) * GoldenRule.generator(name).random(shape)).astype(np.float32)
        )

    @staticmethod
    def public_keys(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
        """Key -> shape and type of every entry of the public state_dict."""
        rows = (line.split("\t") for line in (GOLDEN / f"{name}.keys.tsv").read_text().splitlines())
        return {
            key: (tuple(int(n) for n in shape.strip("()").split(",") if n.strip()), kind)
            for key, shape, kind in rows
        }

    @staticmethod
    def own_keys(network: nn.Module) -> dict[str, tuple[tuple[int, ...], str]]:
        return {
            key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for key, value in network.state_dict().items()
        }

    @staticmethod
    def difference(own: Tensor, golden: NDArray[np.float32]) -> float:
        """Largest difference over the standard deviation of the golden output."""
        assert own.shape == golden.shape
        return float(np.abs(own.numpy() - golden).max() / golden.std())

    @staticmethod
    def outputs(name: str) -> dict[str, NDArray[np.float32]]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)


@pytest.fixture(scope="session")
def rule() -> type[GoldenRule]:
    return GoldenRule
