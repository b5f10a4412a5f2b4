from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from lipsync_cli.models.voice_detector import STEP, VoiceDetector

GOLDEN = Path(__file__).parent / "golden" / "voice_detector.npz"


@pytest.fixture(scope="module")
def network(weights_folder: Path) -> VoiceDetector:
    network = VoiceDetector().eval()
    network.load_state_dict(load_file(weights_folder / "voice_detector.safetensors"))
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray]:
    """What the original file answers, by weights/scripts/convert_voice_detector.py."""
    with np.load(GOLDEN) as arrays:
        return {"samples": arrays["samples"].astype(np.float32) / 32_768, "answers": arrays["answers"]}


def test_probabilities_are_those_of_the_original_file(network: VoiceDetector, golden: dict[str, NDArray]):
    found = network(torch.from_numpy(golden["samples"]))
    np.testing.assert_allclose(found.numpy(), golden["answers"], rtol=0, atol=1e-5)
    assert golden["answers"].min() < 0.01, "and these say something"
    assert golden["answers"].max() > 0.95


@pytest.mark.parametrize(("n_samples", "n_steps"), [(0, 0), (1, 1), (512, 1), (513, 2), (1024, 2)])
def test_a_step_that_has_begun_has_its_probability(network: VoiceDetector, n_samples: int, n_steps: int):
    assert network(torch.zeros(n_samples)).shape == (n_steps,)


def test_what_comes_later_changes_nothing_before(network: VoiceDetector, golden: dict[str, NDArray]):
    samples = torch.from_numpy(golden["samples"])
    part = network(samples[: 70 * STEP])
    torch.testing.assert_close(network(samples)[:70], part, rtol=0, atol=1e-5)


def test_long_sound_is_heard_as_if_it_were_one_piece(network: VoiceDetector, golden: dict[str, NDArray]):
    """Its memory goes on from piece to piece of 512 steps."""
    samples = torch.from_numpy(golden["samples"])[: 100 * STEP].repeat(6)
    assert len(samples) > 512 * STEP
    state = None
    expected = []
    for index in range(len(samples) // STEP):
        begin = index * STEP
        before = samples[begin - 64 : begin] if begin else torch.zeros(64)
        vector = network._vectors(torch.cat([before, samples[begin : begin + STEP]])[None])
        remembered, state = network.memory(vector, state)
        expected.append(torch.sigmoid(network.decision(remembered.relu()))[0, 0])
    torch.testing.assert_close(network(samples), torch.stack(expected), rtol=0, atol=1e-5)


def test_the_file_tells_its_network_licence_and_origin(weights_folder: Path):
    with safe_open(weights_folder / "voice_detector.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "voice_detector"
    assert metadata["licence"] == "MIT"
    assert "silero-vad 6.2.3" in metadata["source"]
