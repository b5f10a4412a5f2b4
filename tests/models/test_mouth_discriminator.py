from __future__ import annotations

import torch

from lipsync_cli.models.mouth_discriminator import MouthDiscriminator, MouthDiscriminatorSettings


def test_every_patch_of_a_mouth_gets_a_score_and_every_layer_gives_its_features():
    network = MouthDiscriminator(MouthDiscriminatorSettings(widths=(4, 6, 8, 10)))
    scores, features = network(torch.rand(2, 6, 48, 72))
    assert scores.shape == (2, 1, 3, 4)
    assert [tuple(one.shape) for one in features] == [
        (2, 4, 24, 36),
        (2, 6, 12, 18),
        (2, 8, 6, 9),
        (2, 10, 3, 4),
    ]


def test_features_are_kept_as_they_were():
    """Activations work in place, so a later layer must not write into an earlier one's features."""
    torch.manual_seed(0)
    network = MouthDiscriminator(MouthDiscriminatorSettings(widths=(4, 6)))
    mouths = torch.rand(2, 6, 16, 24)
    _, features = network(mouths)
    torch.testing.assert_close(features[0], network.layers[0](mouths))
    torch.testing.assert_close(features[1], network.layers[1](features[0]))


def test_gradients_reach_every_parameter_and_the_picture():
    network = MouthDiscriminator(MouthDiscriminatorSettings(widths=(4, 6, 8, 10)))
    mouths = torch.rand(2, 6, 48, 72, requires_grad=True)
    network(mouths)[0].square().sum().backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in network.parameters())
    assert mouths.grad is not None
    assert mouths.grad.abs().sum() > 0
