from __future__ import annotations

import torch

from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings


def reader() -> LipReader:
    torch.manual_seed(0)
    return LipReader(LipReaderSettings(n_points=40, widths=(4, 6, 8, 10))).eval()


def test_lower_halves_become_points():
    points = reader()(torch.rand(3, 3, 48, 96))
    assert points.shape == (3, 40, 2)
    assert points.dtype == torch.float32


def test_the_default_one_has_0_86_million_parameters():
    n = sum(weights.numel() for weights in LipReader(LipReaderSettings()).parameters())
    assert round(n / 1e6, 2) == 0.86


def test_lips_are_read_alike_alone_and_in_a_batch():
    network, lips = reader(), torch.rand(4, 3, 48, 96)
    alone = torch.cat([network(one[None]) for one in lips])
    torch.testing.assert_close(network(lips), alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter_and_the_picture():
    network, lips = reader().train(), torch.rand(4, 3, 48, 96, requires_grad=True)
    network(lips).square().sum().backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in network.parameters())
    assert lips.grad is not None
    assert lips.grad.abs().sum() > 0


def test_it_learns_where_something_is():
    """A bright spot's place, in a few dozen steps."""
    torch.manual_seed(0)
    network = LipReader(LipReaderSettings(n_points=1, widths=(8, 8, 16, 16)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        rows, columns = torch.randint(4, 44, (16,)), torch.randint(4, 92, (16,))
        lips = torch.zeros(16, 3, 48, 96)
        for i in range(16):
            lips[i, :, rows[i] - 4 : rows[i] + 4, columns[i] - 4 : columns[i] + 4] = 1
        wanted = torch.stack([columns / 96 - 0.5, rows / 96 - 0.25], dim=1)[:, None]
        loss = (network(lips) - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
