"""Where networks run and in which precision; asks what the machine has (`processor`: what needs no torch)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError
from lipsync_cli.processor import cores

DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOG = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


def resolve_device(name: str = "auto") -> torch.device:
    """One of `DEVICES` -> the device; `auto` takes the first of cuda, mps, cpu that is there.

    Raises SettingsError for another name, or for an accelerator that is asked for and absent.
    """
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_there in present.items() if is_there()))
    if name not in present:
        raise SettingsError(f"unknown device '{name}': use one of {', '.join(DEVICES)}")
    if not present[name]():
        raise SettingsError(f"device '{name}' is not available to torch here: use 'auto' or 'cpu'")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """One of `PRECISIONS` -> the type that networks compute in on that device.

    `auto`: bfloat16 on a CPU that computes with it (AVX512-BF16 or AMX) and on a GPU that does, float16 on
    older CUDA GPUs, float32 elsewhere. A precision asked for by name is used, with a warning in the log where
    the device only emulates it; SettingsError where the device cannot do it at all, or for another name.
    """
    if name == "auto":
        return _best_precision(device)
    if name not in _DTYPES:
        raise SettingsError(f"unknown precision '{name}': use one of {', '.join(PRECISIONS)}")
    dtype = _DTYPES[name]
    if device.type == "mps" and dtype is torch.bfloat16 and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise SettingsError("precision 'bf16' needs macOS 14 or newer: use 'auto', 'fp32' or 'fp16'")
    if dtype is not torch.float32 and not _is_native(dtype, device):
        _LOG.warning("%s has no native %s: this is slower than 'auto'", device.type, name)
    return dtype


def _best_precision(device: torch.device) -> torch.dtype:
    if device.type == "mps":
        return torch.float32
    if _is_native(torch.bfloat16, device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def _is_native(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device computes in this 16 bit type rather than emulating it."""
    if device.type == "cuda":
        return dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return True
    return dtype is torch.bfloat16 and _cpu_computes_bfloat16()


def _cpu_computes_bfloat16() -> bool:
    # torch's own test is a private function: where a release lacks it, Linux tells the same.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if supported is not None:
        return bool(supported())
    return _has_bfloat16_flag(Path("/proc/cpuinfo"))


def _has_bfloat16_flag(cpuinfo: Path) -> bool:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def beside_other_work() -> Iterator[None]:
    """Networks leave one core to what runs beside them: decoding, pasting, encoding.

    On all cores their threads would wait for each other, and wait by computing. Holds for networks run by
    this thread, and by those that it starts.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Execution:
    """How networks are run for inference: on one device, in one precision."""

    device: torch.device
    dtype: torch.dtype = torch.float32

    def place(self, network: Network) -> Network:
        """The same network, for inference: eval mode, no gradients, on the device, channels last.

        Weights stay float32; `run` computes in `dtype`.
        """
        network.eval().requires_grad_(False).to(self.device)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return network

    def run(self, network: nn.Module, *tensors: Tensor) -> Tensor:
        """network(*tensors) without gradients -> float32 on the CPU, whatever the device and precision."""
        inputs = [tensor.to(self.device) for tensor in tensors]
        with torch.inference_mode(), self._precision():
            output: Tensor = network(*inputs)
        return output.float().cpu()

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)
