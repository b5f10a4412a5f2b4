from __future__ import annotations

import importlib.util
import pickle
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.vgg import VGGFeatures, VGGSettings

VGG16 = VGGSettings(depths=(2, 2, 3, 3, 3))
LAYERS_16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
LAYERS_19 = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
"""Indices of the convolutions in torchvision's `features`."""


@pytest.fixture(scope="module")
def vgg19() -> VGGFeatures:
    torch.manual_seed(0)
    return VGGFeatures(VGGSettings())


def names(layers: tuple[int, ...]) -> set[str]:
    return {f"features.{i}.{kind}" for i in layers for kind in ("weight", "bias")}


def test_names_are_torchvisions_down_to_the_last_tap(vgg19):
    assert set(vgg19.state_dict()) == names(LAYERS_19[:13])  # relu5_1 follows features.28
    assert set(VGGFeatures(VGG16).state_dict()) == names(LAYERS_16[:11])
    last = VGGFeatures(VGGSettings(depths=(2, 2, 3, 3, 3), taps=(2, 2, 3, 3, 3)))
    assert set(last.state_dict()) == names(LAYERS_16)


def test_maps_are_the_tapped_relus_of_normalised_pictures(vgg19):
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    state = vgg19.state_dict()
    x = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    expected = []
    for i in LAYERS_19[:13]:
        x = F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1).relu()
        if i in (0, 5, 10, 19, 28):
            expected.append(x)
        if i in (2, 7, 16, 25):
            x = F.max_pool2d(x, 2)
    maps = vgg19(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)
    ]  # fmt: skip
    for own, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_it_is_frozen_but_lets_gradients_through_to_the_picture(vgg19):
    vgg19.train()
    assert not any(m.training for m in vgg19.modules())
    assert not any(p.requires_grad for p in vgg19.parameters())
    images = torch.rand(1, 3, 16, 16).requires_grad_()
    sum(m.mean() for m in vgg19(images)).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_of_public_weights_only_what_is_used_is_taken(vgg19):
    public = dict(vgg19.state_dict()) | {
        "features.34.weight": torch.zeros(1),
        "classifier.0.weight": torch.zeros(1),
    }
    assert set(vgg19.own_weights(public)) == set(vgg19.state_dict())
    del public["features.0.bias"]
    assert "features.0.bias" not in vgg19.own_weights(public)


def test_a_tap_behind_the_stages_last_convolution_is_refused():
    with pytest.raises(SettingsError, match="between 1 and the depths"):
        VGGSettings(depths=(2, 2, 3, 3, 3), taps=(1, 1, 4, 1, 1))


@pytest.fixture(scope="module")
def converter(weights_folder) -> ModuleType:
    path = weights_folder / "scripts" / "convert_vgg16.py"
    spec = importlib.util.spec_from_file_location("convert_vgg16", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_converter_reads_numpy_arrays(converter, tmp_path):
    path = tmp_path / "arrays.pickle"
    path.write_bytes(
        pickle.dumps({"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}, protocol=3)
    )
    # as numpy 1 wrote it, which is what the public file holds
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    with path.open("rb") as file:
        tree = converter.NumpyUnpickler(file).load()
    np.testing.assert_array_equal(tree["a"]["kernel"], [[0, 1, 2], [3, 4, 5]])


def test_the_converter_refuses_a_pickle_that_runs_code(converter, tmp_path):
    path = tmp_path / "code.pickle"
    path.write_bytes(b"cbuiltins\nprint\n(S'ran'\ntR.")
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        converter.NumpyUnpickler(file).load()


def test_the_converter_turns_kernels_around_and_keeps_the_order(converter):
    network = VGGFeatures(converter.SETTINGS)
    state = network.state_dict()
    layers = {
        f"Conv_{k}": {
            "kernel": state[f"features.{i}.weight"].numpy().transpose(2, 3, 1, 0),
            "bias": state[f"features.{i}.bias"].numpy(),
        }
        for k, i in enumerate(LAYERS_16)
    }
    converted = converter.convert(layers)
    assert set(converted) == set(state)
    assert all(torch.equal(converted[name], state[name]) for name in state)
