"""Two processes, started by torchrun, are one process with the double batch."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Stages

ROOT = Path(__file__).resolve().parents[2]
STAGES = {
    "avsyncnet": (),  # negatives come from both processes
    "syncnet": (),
    "gs": (),
    "gl": ("clip=0.5", "average=0.9"),
}


@contextmanager
def double_precision() -> Iterator[None]:
    """What is computed in float32 is computed in float64: the same sums in another order are then the same.

    In float32 these tiny networks are off by up to a tenth when only the order of a batch changes: most of
    the gradient of a bias before a batch norm is rounding.
    """
    plain = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = plain


def gradients_of(stage, batch) -> dict[str, torch.Tensor]:
    """One step: losses, gradients as the optimizers got them, and statistics of batch norms."""
    kept = {}

    def keep(name, network, optimizer) -> None:
        plain = optimizer.step

        def step() -> None:
            for key, weights in network.named_parameters():
                if weights.grad is not None:
                    kept[f"{name}.{key}"] = weights.grad.clone()
            plain()

        optimizer.step = step

    frozen = [getattr(stage, name, None) for name in ("sync_network", "vgg", "silent_lip")]
    for network in (*stage.networks.values(), *filter(None, frozen)):
        network.double()
    if hasattr(stage, "_silence"):
        stage._silence = stage._silence.double()
    batch = type(batch)(*(getattr(batch, field.name).double() for field in dataclasses.fields(batch)))
    for name, optimizer in stage.optimizers.items():
        keep(name, stage.networks[name], optimizer)
    losses = stage.compute.mean(stage.train(batch, 0))
    kept |= {f"loss {name}": torch.tensor(value) for name, value in losses.items()}
    for name, network in stage.networks.items():
        kept |= {f"{name}.{key}": value.clone() for key, value in network.named_buffers()}
    return kept


def together(one, other):
    """Two batches as one."""
    names = [field.name for field in dataclasses.fields(one)]
    return type(one)(*(torch.cat([getattr(one, name), getattr(other, name)]) for name in names))


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one_with_the_double_batch(stages: Stages, tmp_path):
    """Batch norm is over both (`SharedBatchNorm`): with each process's own it would not be the same."""
    done = torchrun(str(Path(__file__).with_name("gradients_of_two.py")), str(tmp_path), str(stages.cache))
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{place}.pt", weights_only=True) for place in (0, 1))
    for name, changes in STAGES.items():
        stage = stages.build(name, *changes)
        both = together(stage.draw(0), stage.draw(1))
        with double_precision():
            expected = gradients_of(stage, both)
        assert len(expected) > 10
        for key, value in expected.items():
            assert torch.equal(first[name][key], second[name][key]), f"{name} {key}: processes differ"
            torch.testing.assert_close(first[name][key], value, rtol=1e-6, atol=1e-9, msg=f"{name} {key}")


@pytest.mark.slow
def test_a_run_of_two_processes_is_told_and_saved_once_and_goes_on_in_one(stages: Stages, tmp_path):
    settings = "n_clips = 2\nn_windows = 2\nloss = 'bce'\n[loop]\nsteps = 4\n[network]\nnarrow = 16\n"
    (tmp_path / "tiny.toml").write_text('recipe = "paper"\n' + settings)
    arguments = (
        *("-m", "lipsync_cli", "train", "--stage", "syncnet", "--device", "cpu", "--precision", "fp32"),
        *("--data", str(stages.cache), "--out", str(tmp_path / "run"), "--log-every", "1"),
    )
    done = torchrun(*arguments, "--config", str(tmp_path / "tiny.toml"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"syncnet: 4 steps, {tmp_path / 'run' / 'syncnet.safetensors'}\n"
    assert done.stderr.count("step 4/4") == 1
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3", "4"]
    alone = subprocess.run(
        [sys.executable, *arguments, "--resume", "--steps", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 3)])
def test_a_shared_batch_norm_of_one_process_is_a_batch_norm(shape, monkeypatch):
    from lipsync_cli.training import parallel

    monkeypatch.setattr(parallel.collective, "all_reduce", lambda tensor: tensor)
    torch.manual_seed(0)
    kind = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    plain, x = kind(4), torch.randn(shape, requires_grad=True)
    torch.nn.init.normal_(plain.weight)
    shared = parallel.share_batch_norms(torch.nn.Sequential(kind(4)), "cpu")[0]
    shared.load_state_dict(plain.state_dict())
    outputs = []
    for norm in (plain, shared):
        norm(x)
        y = norm(x)
        (gradient,) = torch.autograd.grad(y.square().sum() + y.pow(3).sum(), x)
        outputs.append((y, gradient, *norm.state_dict().values(), norm.eval()(x)))
    for ours, expected in zip(outputs[1], outputs[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
