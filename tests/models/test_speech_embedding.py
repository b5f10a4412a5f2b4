from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from lipsync_cli.models.speech_embedding import SpeechEmbedding

GOLDEN = Path(__file__).parent / "golden" / "speech_embedding.npz"


@pytest.fixture(scope="module")
def network(weights_folder: Path) -> SpeechEmbedding:
    network = SpeechEmbedding().eval()
    network.load_state_dict(load_file(weights_folder / "speech_embedding.safetensors"))
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray]:
    """What the original file answers, by weights/scripts/golden_speech_embedding.py."""
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def random_log_mel(n_columns: int, seed: int = 0) -> torch.Tensor:
    return 4.6 + 8 * torch.rand(1, n_columns, 32, generator=torch.Generator().manual_seed(seed))


def test_steps_are_those_of_the_original_file(network: SpeechEmbedding, golden: dict[str, NDArray]):
    steps = network.steps(torch.from_numpy(golden["tenths"][None].astype(np.float32) / 10))
    assert steps.shape == (1, 10, 384)
    np.testing.assert_allclose(steps[0].numpy(), golden["steps"], rtol=0, atol=1e-4)


def test_embedding_is_that_of_the_original_file(network: SpeechEmbedding, golden: dict[str, NDArray]):
    embedding = network(torch.from_numpy(golden["tenths"][None].astype(np.float32) / 10))
    assert embedding.shape == (1, 1, 96)
    np.testing.assert_allclose(embedding[0, 0].numpy(), golden["embedding"], rtol=0, atol=2e-4)


@pytest.mark.parametrize(("n_columns", "n_steps"), [(40, 1), (43, 1), (44, 2), (76, 10), (79, 10), (80, 11)])
def test_four_columns_more_give_one_step_more(network: SpeechEmbedding, n_columns: int, n_steps: int):
    assert network.steps(random_log_mel(n_columns)).shape == (1, n_steps, 384)


@pytest.mark.parametrize(("n_columns", "n_embeddings"), [(76, 1), (83, 1), (84, 2), (156, 11)])
def test_eight_columns_more_give_one_embedding_more(
    network: SpeechEmbedding, n_columns: int, n_embeddings: int
):
    assert network(random_log_mel(n_columns)).shape == (1, n_embeddings, 96)


def test_whole_speech_at_once_gives_the_steps_of_each_window(network: SpeechEmbedding):
    log_mel = random_log_mel(160)
    whole = network.steps(log_mel)[0]
    for first in range(0, 85, 4):
        window = network.steps(log_mel[:, first : first + 76])[0]
        torch.testing.assert_close(whole[first // 4 : first // 4 + 10], window, rtol=0, atol=1e-4)


def test_whole_speech_at_once_gives_the_embedding_of_each_window(network: SpeechEmbedding):
    log_mel = random_log_mel(160)
    whole = network(log_mel)[0]
    for first in range(0, 85, 8):
        window = network(log_mel[:, first : first + 76])[0, 0]
        torch.testing.assert_close(whole[first // 8], window, rtol=0, atol=2e-4)


def test_step_j_hears_columns_4j_to_4j_plus_39_and_no_others(network: SpeechEmbedding):
    log_mel = random_log_mel(76).requires_grad_()
    for step in (0, 3, 9):
        (gradient,) = torch.autograd.grad(network.steps(log_mel)[0, step].square().sum(), log_mel)
        heard = gradient[0].abs().sum(1).nonzero().squeeze(1).tolist()
        assert heard == list(range(4 * step, 4 * step + 40))


def test_each_row_of_a_batch_is_heard_alone(network: SpeechEmbedding):
    first, second = random_log_mel(76, seed=1), random_log_mel(76, seed=2)
    both = network.steps(torch.cat([first, second]))
    torch.testing.assert_close(
        both, torch.cat([network.steps(first), network.steps(second)]), rtol=0, atol=1e-4
    )


def test_the_file_tells_its_network_licence_and_origin(weights_folder: Path):
    with safe_open(weights_folder / "speech_embedding.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "speech_embedding"
    assert metadata["licence"] == "Apache-2.0"
    assert "google/speech_embedding/1" in metadata["source"]


def test_the_network_is_small():
    assert sum(p.numel() for p in SpeechEmbedding().parameters()) < 0.34e6
