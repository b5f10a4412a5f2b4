from __future__ import annotations

import pytest
import torch

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.discriminator import Discriminator, DiscriminatorSettings

MOUTH = DiscriminatorSettings(inputs=6, widths=(8, 16, 16, 16), strides=(2, 2, 2, 2), spectral_norm=False)


def faces(n: int, channels: int = 3, height: int = 96, width: int = 96) -> torch.Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def paper() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(DiscriminatorSettings())


def test_a_face_gets_one_logit(paper):
    assert paper(faces(2)).shape == (2, 1)


def test_a_mouth_gets_a_logit_for_each_last_pixel():
    assert Discriminator(MOUTH)(faces(2, 6, 48, 72)).shape == (2, 3 * 5)


def test_features_come_with_the_same_logits_and_one_map_a_layer(paper):
    paper.eval()
    logits, maps = paper.judge(faces(2))
    torch.testing.assert_close(logits, paper(faces(2)))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (32, 48, 48), (64, 24, 24), (128, 12, 12), (256, 6, 6), (384, 3, 3), (512, 1, 1)
    ]  # fmt: skip
    assert all((m < 0).any() for m in maps), "leaky: what is below zero stays below zero"


def test_every_convolution_has_a_largest_singular_value_of_one(paper):
    for _ in range(60):  # each pass in train mode is one more power iteration
        paper.train()(faces(1))
    paper.eval()
    kernels = [m.weight for m in paper.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(kernels) == 7
    for kernel in kernels[:4]:
        largest = torch.linalg.matrix_norm(kernel.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.05)


def test_gradients_reach_every_parameter_and_the_picture():
    network = Discriminator(MOUTH)
    pictures = faces(2, 6, 48, 72).requires_grad_()
    network(pictures).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0


def test_a_face_is_judged_alike_alone_and_in_a_batch(paper):
    paper.eval()
    torch.testing.assert_close(paper(faces(3))[1:2], paper(faces(3)[1:2]), rtol=0, atol=1e-6)


def test_layers_need_one_number_each():
    with pytest.raises(SettingsError, match="one number for each layer"):
        DiscriminatorSettings(widths=(8,))
