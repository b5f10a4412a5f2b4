"""Bad public weights through the real program: one line, exit code 5, nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lipsync_cli.cli import app
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.registry import store


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of SyncNet v2, the smallest public network, as its publisher saves it."""
    path = tmp_path_factory.mktemp("public") / "syncnet_v2.model"
    torch.save(SyncNetV2().state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    return tmp_path / "cache" / "lipsync"


@pytest.fixture
def lipsync(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def refused(answer: tuple[int, str, str], *told: str) -> None:
    code, out, err = answer
    assert (code, out) == (5, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    for text in told:
        assert text in err


def test_an_imported_file_is_listed_verified_and_located(lipsync, syncnet, cache) -> None:
    refused(lipsync("weights", "import", syncnet), "sha256", "is registered", "--trust")
    assert files(cache.parent) == [] if cache.parent.exists() else True
    code, out, err = lipsync("weights", "import", syncnet, "--trust")
    assert code == 0
    assert out.startswith(f"{cache / 'syncnet_v2.safetensors'}: 'syncnet_v2' of syncnet_v2")
    assert "non-commercial" in err
    code, out, _ = lipsync("weights", "where", "syncnet_v2")
    assert (code, out) == (0, f"{cache / 'syncnet_v2.safetensors'}\n")
    code, out, _ = lipsync("weights", "list")
    line = next(line for line in out.splitlines() if line.startswith("syncnet_v2"))
    assert "non-commercial" in line
    assert "absent" not in line
    assert lipsync("weights", "verify")[0] == 0


def test_a_truncated_checkpoint(lipsync, syncnet, cache, tmp_path) -> None:
    cut = tmp_path / "syncnet_v2.model"
    cut.write_bytes(syncnet.read_bytes()[:-1000])
    refused(lipsync("weights", "import", cut, "--trust"), str(cut), "truncated or damaged", "fetch it again")
    assert not cache.exists()


def test_a_renamed_checkpoint_is_told_by_its_content(lipsync, syncnet, cache, tmp_path) -> None:
    renamed = tmp_path / "wav2lip_gan.pth"
    shutil.copy(syncnet, renamed)
    answer = lipsync("weights", "import", renamed, "--name", "wav2lip_gan", "--trust")
    refused(answer, str(renamed), "these are weights of 'syncnet_v2', but 'wav2lip_gan' is a 'wav2lip'")
    assert not cache.exists()


def test_a_safetensors_file_may_have_any_name(lipsync, cache, tmp_path) -> None:
    save_file(SyncNetV2().state_dict(), tmp_path / "odd.bin")
    assert lipsync("weights", "import", tmp_path / "odd.bin", "--trust")[0] == 0


def test_a_checkpoint_of_a_network_that_people_mix_up_is_named(lipsync, tmp_path) -> None:
    torch.save(
        {"fuse_convs_dict.32.scale.0.weight": torch.zeros(1), "position_emb": torch.zeros(1)}, tmp_path / "c"
    )
    refused(lipsync("weights", "import", tmp_path / "c"), "look like weights of CodeFormer", "vqfr_v1")


def test_missing_keys_are_listed_first_few(lipsync, syncnet, cache, tmp_path) -> None:
    state = torch.load(syncnet, weights_only=True)
    for name in [name for name in state if name.startswith("netfclip")]:
        del state[name]
    torch.save(state, tmp_path / "part.model")
    answer = lipsync("weights", "import", tmp_path / "part.model", "--trust")
    refused(answer, "missing (netfclip.0.bias, netfclip.0.weight, netfclip.1.bias, ...)")
    assert not cache.exists()


def test_a_checkpoint_with_code_is_refused_and_does_not_run(lipsync, tmp_path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"state_dict": {}, "extra": Attack()}, tmp_path / "attack.pth")
    refused(lipsync("weights", "import", tmp_path / "attack.pth", "--trust"), "holds code", "was not loaded")
    assert not (tmp_path / "harm").exists()


def test_a_wrong_hash_in_the_cache_is_refused_when_it_is_used(lipsync, syncnet, cache) -> None:
    cache.mkdir(parents=True)
    shutil.copy(syncnet, cache / "GFPGANv1.4.pth")
    refused(lipsync("weights", "where", "gfpgan"), "GFPGANv1.4.pth", "expected sha256 e2cd4703")
    code, _, err = lipsync("weights", "verify")
    assert code == 5
    assert "expected sha256 e2cd4703" in err


def test_no_network(lipsync, cache, monkeypatch) -> None:
    refused(lipsync("weights", "pull", "gfpgan", "--offline"), "offline", "weights import GFPGANv1.4.pth")
    monkeypatch.setenv("LIPSYNC_OFFLINE", "1")
    refused(lipsync("weights", "pull", "vqfr_v2"), "offline")
    assert not cache.exists()


def test_weights_that_no_program_can_fetch(lipsync, cache) -> None:
    refused(
        lipsync("weights", "pull", "wav2lip"),
        "https://github.com/Rudrabha/Wav2Lip",
        "weights import wav2lip.pth",
    )
    refused(lipsync("weights", "pull", "wave2lip"), "no weights are called 'wave2lip': known are")


@pytest.mark.parametrize("name", ["vqfr", "gfpgan", "gpen"])
def test_a_dub_with_a_restorer_that_is_not_there(lipsync, tmp_path, name, weights_folder) -> None:
    demo = weights_folder / "demo"
    output = tmp_path / "out.mp4"
    answer = lipsync("dub", demo / "portrait.jpg", demo / "speech.m4a", "-o", output, "--restore", name)
    refused(answer, "do not come with lipsync_cli: run `lipsync weights pull")
    assert not output.exists()


def test_a_dub_with_the_weights_of_another_network(lipsync, syncnet, tmp_path, weights_folder) -> None:
    demo = weights_folder / "demo"
    inputs = (demo / "portrait.jpg", demo / "speech.m4a", "-o", tmp_path / "out.mp4")
    answer = lipsync("dub", *inputs, "--restore", "vqfr", "--restore-weights", syncnet)
    refused(answer, "these are weights of 'syncnet_v2', not of 'vqfr_v2 or vqfr_v1'")
    refused(lipsync("dub", *inputs, "--model", syncnet), "weights of 'syncnet_v2', not of 'wav2lip'")
    refused(lipsync("dub", *inputs, "--model", "wav2lip"), "weights 'wav2lip' do not come", "weights import")
    assert files(tmp_path) == []


def test_an_expert_of_wav2lip_measures_sync(tmp_path) -> None:
    """`lipsync eval --sync-network` takes the public file; loading it is what differs from our own."""
    from lipsync_cli.assembly_networks import load_sync_scorer, make_execution

    torch.save({"state_dict": SyncNetColor().state_dict(), "optimizer": {}}, tmp_path / "lipsync_expert.pth")
    scorer = load_sync_scorer(tmp_path / "lipsync_expert.pth", make_execution("cpu", "fp32"))
    assert scorer.lips_size == (48, 96)
