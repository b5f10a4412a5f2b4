from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.vgg import VGGFeatures, VGGSettings
from lipsync_cli.models.wav2lip import Wav2Lip
from lipsync_cli.registry.public import load_public

Save = Callable[[dict[str, Tensor], Path], None]


def as_training_script(state: dict[str, Tensor], path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": wrapped, "optimizer": {"lr": 1e-4}, "global_step": 5, "global_epoch": 1}, path)


def as_old_file(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": state, "optimizer": None}, path, _use_new_zipfile_serialization=False)


def as_plain_state(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)


def as_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)


def vgg16() -> VGGFeatures:
    return VGGFeatures(VGGSettings(depths=(2, 2, 3, 3, 3)))


def vgg19() -> VGGFeatures:
    return VGGFeatures(VGGSettings())


def whole_vgg(network: VGGFeatures, last: int) -> dict[str, Tensor]:
    """The features that ours keeps, with the deeper layers and the classifier of the public file."""
    rest = {f"features.{last}.weight": torch.zeros(1), "classifier.0.weight": torch.zeros(1)}
    return {**network.state_dict(), **rest}


@pytest.mark.parametrize(
    ("build", "architecture", "save", "name"),
    [
        (Wav2Lip, "wav2lip", as_old_file, "wav2lip_gan.pth"),
        (SyncNetColor, "syncnet_color", as_training_script, "lipsync_expert.pth"),
        (SyncNetV2, "syncnet_v2", as_plain_state, "syncnet_v2.model"),
        (SyncNetV2, "syncnet_v2", as_safetensors, "syncnet_v2.safetensors"),
    ],
)
def test_public_files_are_recognised_by_their_parameters(
    build: Callable[[], nn.Module], architecture: str, save: Save, name: str, tmp_path: Path
) -> None:
    original = build()
    save(original.state_dict(), tmp_path / name)
    for asked in (None, architecture):
        network = load_public(tmp_path / name, asked)
        assert type(network) is build
        assert not network.training
        assert all(
            torch.equal(a, b) for a, b in zip(network.parameters(), original.parameters(), strict=True)
        )


@pytest.mark.parametrize(("build", "last", "architecture"), [(vgg16, 28, "vgg16"), (vgg19, 34, "vgg19")])
def test_vgg_files_keep_only_the_features_that_are_used(
    build: Callable[[], VGGFeatures], last: int, architecture: str, tmp_path: Path
) -> None:
    original = build()
    torch.save(whole_vgg(original, last), tmp_path / "vgg.pth")
    network = load_public(tmp_path / "vgg.pth", architecture)
    assert isinstance(network, VGGFeatures)
    assert network.settings == original.settings
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), original.parameters(), strict=True))


def test_the_weights_of_another_network_than_asked_for_are_refused(tmp_path: Path) -> None:
    as_plain_state(
        {"netcnnlip.0.weight": torch.zeros(1), "netcnnaud.0.weight": torch.zeros(1)}, tmp_path / "s"
    )
    with pytest.raises(WeightsError, match="these are weights of 'syncnet_v2', not of 'wav2lip'"):
        load_public(tmp_path / "s", "wav2lip")


def test_an_incomplete_file_lists_what_is_missing(tmp_path: Path) -> None:
    as_plain_state(
        {"netcnnlip.0.weight": torch.zeros(1), "netcnnaud.0.weight": torch.zeros(1)}, tmp_path / "s"
    )
    with pytest.raises(WeightsError, match=r"not the weights of a SyncNetV2: .* missing"):
        load_public(tmp_path / "s")


def test_unknown_parameters_list_the_known_networks(tmp_path: Path) -> None:
    as_plain_state({"weight": torch.zeros(1)}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth: the weights of none of .*: wav2lip, syncnet_color"):
        load_public(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="no public network is called 'codeformer'"):
        load_public(tmp_path / "mine.pth", "codeformer")


@pytest.mark.parametrize("content", [torch.zeros(3), {"state_dict": 3}, [1, 2]])
def test_something_else_than_a_table_of_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth: not a table of named weights"):
        load_public(tmp_path / "odd.pth")


class Attack:
    """What pickle runs when it reads this: make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("as_zip", [True, False])
def test_code_in_a_pickle_is_refused_and_never_runs(as_zip: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "attack.pth", tmp_path / "trace"
    content = {"state_dict": {"w": torch.zeros(1)}, "more": Attack(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(WeightsError, match=r"attack\.pth: holds code \(\w+\.mkdir\) .* was not loaded"):
        load_public(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the file was no attack"


def test_a_plain_pickle_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    path, trace = tmp_path / "plain.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"state_dict": Attack(trace)}, protocol=4))
    with pytest.raises(WeightsError, match=r"plain\.pth: a pickle that torch\.save did not write"):
        load_public(path)
    assert not trace.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(WeightsError, match=r"holds code \(torch\.nn\.modules\.linear\.Linear\)"):
        load_public(tmp_path / "module.pth")


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    with pytest.raises(WeightsError, match=r"script\.pt: a TorchScript program"):
        load_public(tmp_path / "script.pt")


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_truncated_files_are_told_of(as_zip: bool, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.rand(5000)}, path, _use_new_zipfile_serialization=as_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match=r"half\.pth: truncated or damaged"):
        load_public(path)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all\n"])
def test_files_of_another_kind_are_told_of(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"text\.\w+: (not a file of weights|truncated or damaged)"):
        load_public(tmp_path / name)


def test_a_bare_pickle_without_tensors_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match=r"p\.pkl: "):
        load_public(tmp_path / "p.pkl")


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_a_missing_file_is_told_of(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read the weights"):
        load_public(tmp_path / name)
