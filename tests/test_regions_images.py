from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.regions import to_image, to_network


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_pictures_of_networks_become_bytes_in_rows(batch: tuple[int, ...]) -> None:
    faces = torch.rand(*batch, 3, 6, 8, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    kept = faces.clone()
    image = to_image(faces)
    assert image.shape == (*batch, 6, 8, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    expected = np.rint(np.clip(np.moveaxis(faces.numpy(), -3, -1), 0, 1) * np.float32(255))
    np.testing.assert_array_equal(image, expected)
    assert torch.equal(faces, kept)


def test_there_and_back_is_the_same_picture() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(to_image(to_network(images)), images)
    np.testing.assert_array_equal(to_image(to_network(images).to(torch.float64)), images)
