from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.models.architectures import build
from lipsync_cli.models.lip_reader import LipReader, LipReaderSettings
from lipsync_cli.registry.checkpoint import load_into, load_network, read_header, save_checkpoint
from lipsync_cli.settings import to_mapping


@pytest.fixture
def network() -> LipReader:
    torch.manual_seed(0)
    return LipReader(LipReaderSettings())


@pytest.fixture
def checkpoint(network: LipReader, tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "reader.safetensors"
    settings = to_mapping(LipReaderSettings())
    save_checkpoint(path, network, architecture="lip_reader", settings=settings, extra={"step": 7})
    return path


def test_a_checkpoint_builds_its_own_network_with_the_same_weights(
    network: LipReader, checkpoint: Path
) -> None:
    loaded = load_network(checkpoint)
    assert type(loaded) is LipReader
    assert not any(module.training for module in loaded.modules())
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_the_header_tells_architecture_settings_and_extra(checkpoint: Path) -> None:
    header = read_header(checkpoint)
    assert header.architecture == "lip_reader"
    assert build(header.architecture, header.settings)
    assert header.settings == to_mapping(LipReaderSettings())
    assert header.extra == {"step": 7}


def test_half_stores_kernels_in_half_the_size_and_loads_float32(network: LipReader, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, network, architecture="lip_reader", settings={}, half=True)
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            assert (file.get_tensor(name).dtype is torch.float16) == (network.state_dict()[name].dim() > 1), (
                name
            )
    loaded = load_network(path)
    for name, tensor in network.state_dict().items():
        assert loaded.state_dict()[name].dtype is tensor.dtype
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)


def test_half_keeps_what_float16_cannot_hold(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    network.load_state_dict({"weight": torch.tensor([[1e6, 1.0], [0.0, 1.0]]), "bias": torch.zeros(2)})
    path = tmp_path / "large.safetensors"
    save_checkpoint(path, network, architecture="x", settings={}, half=True)
    restored = nn.Linear(2, 2)
    load_into(restored, path)
    assert torch.equal(restored.weight, network.weight)


def test_shared_and_strided_parameters_are_stored_whole(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)
            self.second = self.first

    network = Tied()
    path = tmp_path / "tied.safetensors"
    save_checkpoint(path, network, architecture="tied", settings={})
    restored = Tied()
    load_into(restored, path)
    assert torch.equal(restored.second.weight, network.first.weight)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "folder.safetensors"
    path.mkdir()
    with pytest.raises(WeightsError, match=r"folder\.safetensors: cannot write"):
        save_checkpoint(path, nn.Linear(1, 1), architecture="x", settings={})
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_told_of(keep: int, checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(
        WeightsError, match=r"reader\.safetensors: truncated, damaged or not a safetensors file"
    ):
        load_network(checkpoint)


def test_something_else_than_safetensors_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("these are no weights, only words")
    with pytest.raises(WeightsError, match=r"text\.safetensors: truncated, damaged or not"):
        read_header(path)


@pytest.mark.parametrize("name", ["absent.safetensors", "."])
def test_a_missing_file_is_told_of(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        load_network(tmp_path / name)
    with pytest.raises(WeightsError, match="no such weights file"):
        load_into(nn.Linear(1, 1), tmp_path / name)


def test_weights_without_an_architecture_are_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"plain\.safetensors: .* does not say of which network"):
        load_network(path)


@pytest.mark.parametrize("settings", ["{", "[1]"])
def test_settings_that_are_not_a_json_object_are_told_of(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {"architecture": "lip_reader", "settings": settings})
    with pytest.raises(WeightsError, match=r"odd\.safetensors: its settings are not"):
        read_header(path)


@pytest.mark.parametrize(
    ("architecture", "settings"), [("no_such_network", {}), ("lip_reader", {"no_such_key": 1})]
)
def test_a_network_that_cannot_be_built_names_the_file(
    architecture: str, settings: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "strange.safetensors"
    save_checkpoint(path, nn.Linear(1, 1), architecture=architecture, settings=settings)
    with pytest.raises(
        WeightsError, match=rf"strange\.safetensors: cannot build its network '{architecture}'.*no_such"
    ):
        load_network(path)


def test_weights_of_another_network_list_the_first_differences(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    names = {f"extra.{i}": torch.zeros(1) for i in range(5)}
    save_file({"weight": torch.zeros(3, 1), **names}, path, {"architecture": "x"})
    with pytest.raises(WeightsError) as error:
        load_into(nn.Linear(1, 2), path)
    assert str(error.value) == (
        f"{path}: not the weights of a Linear: 1 missing (bias); "
        "5 unexpected (extra.0, extra.1, extra.2, ...); 1 of another shape (weight [3, 1] for [2, 1])"
    )
