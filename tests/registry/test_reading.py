"""Files that people have, in the wrappings in which they have them, and files that are something else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipsync_cli.errors import WeightsError
from lipsync_cli.models.syncnet import SyncNetV2
from lipsync_cli.models.warping_generator import WarpingFaceGenerator, WarpingGeneratorSettings
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.registry.public import load_public, read_public
from lipsync_cli.registry.reading import read_tables

SMALL = {"a.weight": torch.ones(2), "b.weight": torch.zeros(3)}
TOLD = {"netcnnlip.0.weight": torch.ones(1), "netcnnaud.0.weight": torch.zeros(1)}
"""What SyncNet v2 is told by."""


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def syncnet() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return SyncNetV2().state_dict()


@pytest.mark.parametrize(
    "wrapping",
    ["params_ema", "params", "g_ema", "state_dict", "model", "generator", "model_state_dict", "odd name"],
)
def test_the_weights_are_found_beside_other_things(tmp_path: Path, wrapping: str) -> None:
    content = {"optimizer": {"state": {}, "lr": 0.1}, wrapping: SMALL, "step": 3}
    assert read_tables(saved(content, tmp_path / "w.pth"))[0].keys() == SMALL.keys()


def test_averaged_weights_go_before_plain_ones(tmp_path: Path) -> None:
    plain = {name: tensor + 1 for name, tensor in SMALL.items()}
    (first, second) = read_tables(saved({"params": plain, "params_ema": SMALL}, tmp_path / "w.pth"))
    assert torch.equal(first["a.weight"], SMALL["a.weight"])
    assert torch.equal(second["a.weight"], plain["a.weight"])


def test_of_several_tables_the_one_of_a_known_network_is_taken(tmp_path: Path) -> None:
    path = saved({"generator": SMALL, "state_dict": {"deeper": TOLD}}, tmp_path / "w.pth")
    assert read_public(path).architecture == "syncnet_v2"


@pytest.mark.parametrize("prefix", ["module.", "module.module.", "_orig_mod.", "net."])
def test_what_wrappers_put_before_all_names_is_taken_off(tmp_path: Path, prefix: str) -> None:
    path = saved({prefix + name: tensor for name, tensor in SMALL.items()}, tmp_path / "w.pth")
    assert read_tables(path)[0].keys() == SMALL.keys()


def test_a_prefix_that_only_some_names_have_is_part_of_them(tmp_path: Path) -> None:
    path = saved({"net.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert read_tables(path)[0].keys() == {"net.a", "b"}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_load_as_float32(
    tmp_path: Path, syncnet: dict[str, Tensor], kind: torch.dtype
) -> None:
    path = saved({n: t.to(kind) if t.is_floating_point() else t for n, t in syncnet.items()}, tmp_path / "h")
    loaded = load_public(str(path), "syncnet_v2").state_dict()
    assert {t.dtype for t in loaded.values() if t.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(
        loaded["netfclip.0.weight"], syncnet["netfclip.0.weight"], rtol=1e-2, atol=1e-3
    )


def test_files_older_than_the_counters_of_batch_norm_load(tmp_path: Path, syncnet: dict[str, Tensor]) -> None:
    path = saved({n: t for n, t in syncnet.items() if "num_batches" not in n}, tmp_path / "old.model")
    assert isinstance(load_public(path), SyncNetV2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>Virus scan warning</html>", "a web page"),
        (b"\n <HTML><body>Sign in</body>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\x1f\x8b\x08\x00rest", "a compressed archive: unpack it"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05", "an ONNX program"),
        (b"", "it is empty"),
    ],
)
def test_what_is_saved_in_place_of_weights_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "VQFR_v2.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"VQFR_v2\.pth: not a file of weights: it is .*{told[6:]}"):
        read_tables(tmp_path / "VQFR_v2.pth")


def test_a_zip_of_something_else_is_told_of(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"a zip archive, but not one of torch\.save"):
        read_tables(tmp_path / "w.pth")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """torch.load compares no checksums and would take it."""
    path = saved({"w": torch.ones(5000)}, tmp_path / "w.pth")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)
    assert not bool((torch.load(path, weights_only=True)["w"] == 1).all())
    with pytest.raises(WeightsError, match=r"damaged \(the checksum of its part .* is wrong\)"):
        read_tables(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(WeightsError, match="not a regular file"):
        read_tables(tmp_path / "pipe.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = saved({**TOLD, "x": torch.tensor([1.0, float("nan")])}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"1 of its weights hold values that are no numbers \(first: x\)"):
        read_public(path)


def test_a_file_without_the_telling_names_is_said_to_look_like_its_network(
    tmp_path: Path, syncnet: dict[str, Tensor]
) -> None:
    path = saved({n: t for n, t in syncnet.items() if n != "netcnnlip.0.weight"}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"look like weights of 'syncnet_v2' \(99% of its names\), without netcnnlip"
    ):
        read_public(path)


@pytest.mark.parametrize(("level", "size"), [(8, "1024 or 2048"), (6, "256")])
def test_gpen_of_another_size_is_named(tmp_path: Path, level: int, size: str) -> None:
    names = [
        "generator.input.input",
        "final_linear.0.weight",
        *(f"ecd{i}.0.1.weight" for i in range(level + 1)),
    ]
    path = saved(dict.fromkeys(names, torch.ones(1)), tmp_path / "GPEN.pth")
    with pytest.raises(WeightsError, match=f"look like weights of GPEN of {size} pixels"):
        read_public(path)


def test_a_checkpoint_of_our_own_says_how_it_is_used(tmp_path: Path) -> None:
    settings = WarpingGeneratorSettings(widths=(4, 4, 4, 4), bottleneck_depth=1)
    path = tmp_path / "face.safetensors"
    save_checkpoint(path, WarpingFaceGenerator(settings), architecture="warping_generator", settings={})
    with pytest.raises(WeightsError, match=r"a checkpoint of lipsync's own \('warping_generator'\).*--model"):
        read_public(path)
