from __future__ import annotations

import pytest
import torch

from lipsync_cli.device import resolve_device
from lipsync_cli.training.compute import Compute, training_precision
from lipsync_cli.training.loop import Progress, Run

STAGES = pytest.mark.parametrize("name", ["avsyncnet", "lip_reader", "lip_predictor", "warping", "gs", "gl"])
pytestmark = pytest.mark.gpu


@pytest.fixture
def device() -> torch.device:
    device = resolve_device("auto")
    if device.type == "cpu":
        pytest.skip("no accelerator here")
    return device


@STAGES
def test_a_step_on_an_accelerator_is_that_of_the_cpu(stages, device, name):
    ours, expected = (
        stages.build(name, compute=compute).train(stages.build(name).draw(0), 0)
        for compute in (Compute(device), Compute())
    )
    assert ours == pytest.approx(expected, rel=1e-2, abs=1e-3)


@STAGES
def test_a_run_on_an_accelerator_validates_saves_and_goes_on_on_the_cpu(stages, device, tmp_path, name):
    told: list[Progress] = []
    compute = Compute(device, training_precision("auto", device))
    stage = stages.build(name, "loop.steps=3", compute=compute)
    Run(stage, stage.settings.loop, tmp_path).go(resume=False, report=told.append)
    assert told[-1].figures
    assert {tensor.device.type for network in stage.networks.values() for tensor in network.parameters()} == {
        device.type
    }
    longer = stages.build(name, "loop.steps=5")
    Run(longer, longer.settings.loop, tmp_path).go(resume=True, report=told.append)
    assert told[-1].step == 5
