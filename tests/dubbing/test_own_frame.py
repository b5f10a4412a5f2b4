"""Generators without references of the shot: they look at the frame that they draw anew."""

from __future__ import annotations

import torch
from torch import Tensor


class Copier:
    """Draws what it is shown; remembers what it saw."""

    image_size, n_references, hears, scalable = 32, 0, "time", False

    def __init__(self) -> None:
        self.references: list[Tensor] = []
        self.poses: list[Tensor] = []

    def __call__(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        self.references.append(references)
        self.poses.append(pose)
        return references[:, 0]


def test_the_frame_itself_comes_in_the_place_of_references(world) -> None:
    stream = world.Stream([world.Shown(opening=0.01 * i) for i in range(1, 9)])
    world.silent_lip = world.talking_face = copier = Copier()
    counts = world.dub(stream, 0.32, batch=25)
    assert counts.dubbed == 8
    assert counts.silenced_references == 0
    (references,), (poses,) = copier.references, copier.poses
    assert references.shape == (10, 1, 3, 32, 32)  # two windows: the last frame three times
    assert torch.equal(references[7:], references[7:8].expand(3, -1, -1, -1, -1))
    assert torch.equal(references[:, 0, :, :16], poses[:, :, :16])
    assert not poses[:, :, 16:].any()
    assert references[:, 0, :, 16:].any(), "the lower half is there"
    assert len({round(float(each.mean()), 4) for each in references}) > 4, "each frame is its own"
