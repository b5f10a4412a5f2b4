"""Checkpoints: weights and settings in one safetensors file that says how to build its own network.

The file's metadata holds `architecture` (a name that `models.architectures.build` knows), `settings` and
`extra` (JSON objects; extra is what else is worth keeping: step, data, scores).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.models import architectures
from lipsync_cli.whole_file import whole_file

_SHOWN = 3
"""How many names of wrong parameters a message lists."""


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What a checkpoint says of itself."""

    architecture: str
    settings: dict[str, object]
    extra: dict[str, object]


def save_checkpoint(
    path: Path,
    network: nn.Module,
    *,
    architecture: str,
    settings: Mapping[str, object],
    extra: Mapping[str, object] | None = None,
    half: bool = False,
) -> None:
    """Write all parameters and buffers of the network, under a temporary name first.

    settings and extra must be plain JSON values (`settings.to_mapping`). half stores matrices and kernels as
    float16 (half the size; vectors such as batch norm statistics stay float32); they load as float32.
    Raises WeightsError when the file cannot be written.
    """
    metadata = {
        "architecture": architecture,
        "settings": json.dumps(dict(settings), sort_keys=True),
        "extra": json.dumps(dict(extra or {}), sort_keys=True),
    }
    # Copies, since safetensors takes neither views nor parameters that share their memory.
    tensors = {
        name: _stored(tensor.detach(), half).cpu().contiguous().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            # Not save_file: it makes the file readable by its owner alone, whatever the umask.
            part.write_bytes(to_bytes(tensors, metadata))
    except OSError as error:
        raise WeightsError(f"{path}: cannot write the checkpoint: {error}") from error


def read_header(path: Path) -> CheckpointHeader:
    """Architecture, settings and extra of a checkpoint, without its weights.

    Raises WeightsError when the file is missing, damaged, or not a checkpoint of this program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if "architecture" not in metadata:
        raise WeightsError(f"{path}: has weights but does not say of which network: not a lipsync checkpoint")
    return CheckpointHeader(
        architecture=metadata["architecture"],
        settings=_object(path, metadata, "settings"),
        extra=_object(path, metadata, "extra"),
    )


def load_network(path: Path) -> nn.Module:
    """The network of a checkpoint, with its weights, in eval mode, float32 on the CPU.

    Raises WeightsError when the file is missing, damaged, or does not fit the network that it names.
    """
    header = read_header(path)
    try:
        network = architectures.build(header.architecture, header.settings)
    except SettingsError as error:
        raise WeightsError(f"{path}: cannot build its network '{header.architecture}': {error}") from error
    load_into(network, path)
    return network.eval()


def load_into(network: nn.Module, path: Path) -> None:
    """Fill a network that is built already; every name and shape must match.

    Raises WeightsError when the file is missing, damaged, or of another network.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    fill(network, tensors, path)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy named tensors into the network; WeightsError (naming path) unless names and shapes all match."""
    wanted = network.state_dict()
    differences = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {list(tensors[name].shape)} for {list(wanted[name].shape)}"
            for name in sorted(wanted.keys() & tensors.keys())
            if tensors[name].shape != wanted[name].shape
        ],
    }
    found = "; ".join(
        f"{len(names)} {kind} ({_first(names)})" for kind, names in differences.items() if names
    )
    if found:
        raise WeightsError(f"{path}: not the weights of a {type(network).__name__}: {found}")
    network.load_state_dict(tensors)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """As it goes to the file: float16 where that is asked for and loses only precision, not range."""
    if not half or tensor.dim() < 2 or tensor.dtype not in (torch.float32, torch.bfloat16):
        return tensor
    shortened = tensor.half()
    return shortened if bool(shortened.isfinite().all()) else tensor


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _object(path: Path, metadata: Mapping[str, str], key: str) -> dict[str, object]:
    try:
        value: object = json.loads(metadata.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: its {key} are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: its {key} are not a JSON object")
    return value


def _unreadable(path: Path, error: Exception) -> WeightsError:
    if not path.is_file():
        return WeightsError(f"{path}: no such weights file")
    return WeightsError(f"{path}: truncated, damaged or not a safetensors file ({error}): fetch it again")
