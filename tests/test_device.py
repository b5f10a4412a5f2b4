from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from lipsync_cli import device
from lipsync_cli.device import Execution, beside_other_work, resolve_device, resolve_precision
from lipsync_cli.errors import SettingsError

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Dropout(0.5)
    )


@pytest.fixture
def accelerator() -> torch.device:
    found = resolve_device("auto")
    if found.type == "cpu":
        pytest.skip("no accelerator here")
    return found


def test_auto_is_the_cpu_where_there_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_an_absent_accelerator_that_was_asked_for_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=f"'{name}' is not available"):
        resolve_device(name)


def test_auto_prefers_cuda_to_mps_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "mps"


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="auto, cuda, mps, cpu"):
        resolve_device("gpu")
    with pytest.raises(SettingsError, match="auto, fp32, bf16, fp16"):
        resolve_precision("int8", CPU)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_computes_in_bfloat16_only_on_a_cpu_that_does(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_cpu_computes_bfloat16", lambda: native)
    assert resolve_precision("auto", CPU) is expected


def test_a_precision_asked_for_is_never_replaced_but_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_cpu_computes_bfloat16", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("fp32", CPU) is torch.float32
        assert not caplog.records
        assert resolve_precision("bf16", CPU) is torch.bfloat16
        assert resolve_precision("fp16", CPU) is torch.float16
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "cpu has no native bf16",
        "cpu has no native fp16",
    ]


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_cuda_is_float16_where_bfloat16_is_emulated(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation
    )
    assert resolve_precision("auto", torch.device("cuda")) is expected


def test_mps_computes_in_float32_unless_asked_and_in_bfloat16_only_from_macos_14_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mps = torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: False)
    assert resolve_precision("auto", mps) is torch.float32
    assert resolve_precision("fp16", mps) is torch.float16
    with pytest.raises(SettingsError, match="macOS 14"):
        resolve_precision("bf16", mps)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse4_2 avx512_bf16 avx2", True), ("avx2 amx_bf16 amx_tile", True), ("sse4_2 avx2 avx512f", False)],
)
def test_cpu_flags_tell_of_bfloat16_where_torch_does_not(flags: str, expected: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512_bf16_bug\n")
    assert device._has_bfloat16_flag(cpuinfo) is expected
    assert not device._has_bfloat16_flag(tmp_path / "absent")


def test_a_placed_network_is_frozen_in_eval_mode_and_channels_last() -> None:
    net = network()
    placed = Execution(CPU).place(net)
    assert placed is net
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    convolutions = [module for module in net if isinstance(module, nn.Conv2d)]
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions)


def test_networks_with_three_dimensional_convolutions_can_be_placed() -> None:
    net = Execution(CPU).place(nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)))
    assert Execution(CPU).run(net, torch.zeros(1, 3, 5, 5, 5)).shape == (1, 4, 3, 3, 3)


def test_placing_changes_no_result() -> None:
    images = torch.rand(2, 3, 9, 9)
    expected = network().eval()(images)
    torch.testing.assert_close(Execution(CPU).run(Execution(CPU).place(network()), images), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_results_are_float32_near_the_exact_ones_in_every_precision(dtype: torch.dtype) -> None:
    execution = Execution(CPU, dtype)
    images = torch.rand(2, 3, 9, 9)
    result = execution.run(execution.place(network()), images)
    assert result.dtype is torch.float32
    assert result.device == CPU
    assert not result.requires_grad
    torch.testing.assert_close(result, network().eval()(images), atol=0.02, rtol=0.02)


def test_half_precisions_really_compute_in_fewer_bits() -> None:
    images = torch.rand(2, 3, 9, 9)
    exact = network().eval()(images)
    execution = Execution(CPU, torch.bfloat16)
    assert not torch.equal(execution.run(execution.place(network()), images), exact)


@pytest.mark.parametrize(
    ("cores", "before", "within"), [(1, 1, 1), (2, 2, 1), (8, 8, 7), (8, 3, 3), (2, 4, 1)]
)
def test_networks_leave_a_core_to_other_work(
    monkeypatch: pytest.MonkeyPatch, cores: int, before: int, within: int
) -> None:
    def fail() -> None:
        with beside_other_work():
            with ThreadPoolExecutor(1) as pool:
                seen.append(pool.submit(torch.get_num_threads).result())
            seen.append(torch.get_num_threads())
            raise KeyError

    seen: list[int] = []
    usual = torch.get_num_threads()
    monkeypatch.setattr(device, "cores", lambda: cores)
    torch.set_num_threads(before)
    try:
        with pytest.raises(KeyError):
            fail()
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(usual)
    assert seen == [within, within, before]


@pytest.mark.gpu
def test_an_accelerator_gives_the_results_of_the_cpu(accelerator: torch.device) -> None:
    execution = Execution(accelerator, resolve_precision("auto", accelerator))
    images = torch.rand(2, 3, 9, 9)
    placed = execution.place(network())
    assert {parameter.device.type for parameter in placed.parameters()} == {accelerator.type}
    result = execution.run(placed, images)
    assert result.device == CPU
    torch.testing.assert_close(result, network().eval()(images), atol=0.02, rtol=0.02)
