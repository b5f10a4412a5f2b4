from __future__ import annotations

import pytest
import torch

from lipsync_cli.regions import resize


def test_pictures_of_the_right_size_come_back_as_they_are():
    images = torch.rand(2, 3, 8, 8)
    assert resize(images, (8, 8)) is images


def test_a_doubled_ramp_is_the_ramp_between_pixel_centres():
    ramp = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(1, 1, 1, 4)
    doubled = resize(ramp, (1, 8))[0, 0, 0]
    torch.testing.assert_close(doubled, torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))


def test_a_shrunk_chequerboard_becomes_grey():
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(1, 1, 16, 16)
    small = resize(board, (4, 4))
    torch.testing.assert_close(small[..., 1:3, 1:3], torch.full((1, 1, 2, 2), 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (7, 3)])
def test_any_leading_dimensions_and_gradients(size):
    images = torch.rand(2, 5, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    out = resize(images, size)
    assert out.shape == (2, 5, 3, *size)
    assert torch.autograd.gradcheck(lambda x: resize(x, size), images[:1, :1, :1].detach().requires_grad_())
