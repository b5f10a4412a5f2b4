"""Weights that people own already: recognised by the names of their parameters, read without running code.

Known: Wav2Lip and its SyncNet_color (Rudrabha/Wav2Lip), SyncNet v2 (joonson/syncnet_python), VQFR v1 and v2
(TencentARC/VQFR), GFPGAN v1.3 and v1.4 (TencentARC/GFPGAN), GPEN-BFR-512 (yangxy/GPEN), torchvision's VGG-16
and VGG-19; as torch.save wrote them or as safetensors.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.models.restorers.vqfr_v1 import VQFRv1
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.vgg import VGGFeatures, VGGSettings
from lipsync_cli.models.wav2lip import Wav2Lip
from lipsync_cli.registry.checkpoint import fill

_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)
"""What torch.load raises for a file that is cut short or is something else: it has no error of its own."""


@dataclass(frozen=True, slots=True)
class _PublicNetwork:
    parameters: tuple[str, ...]
    """Names that this network has and none of those after it in the table."""
    build: Callable[[], nn.Module]


_TORCH_SAVE = (b"P", b"\x80")
"""A zip archive or a bare pickle: all that torch.save has ever written."""
_WRAPPINGS = ("state_dict", "params_ema", "params")
"""Where training scripts put the weights beside other things; averaged weights go before plain ones."""
_VGG16 = VGGSettings(depths=(2, 2, 3, 3, 3))
PUBLIC: dict[str, _PublicNetwork] = {
    "wav2lip": _PublicNetwork(("face_decoder_blocks.0.0.conv_block.0.weight",), Wav2Lip),
    "syncnet_color": _PublicNetwork(
        ("face_encoder.0.conv_block.0.weight", "audio_encoder.0.conv_block.0.weight"), SyncNetColor
    ),
    "syncnet_v2": _PublicNetwork(("netcnnlip.0.weight", "netcnnaud.0.weight"), SyncNetV2),
    "vqfr_v1": _PublicNetwork(("main_decoder.align_func_dict.Level_32.dcn.weight",), VQFRv1),
    "vqfr_v2": _PublicNetwork(("main_branch.align_func_dict.Level_32.dcn.weight",), VQFRv2),
    "gfpgan": _PublicNetwork(("stylegan_decoder.constant_input.weight", "conv_body_first.weight"), GFPGAN),
    "gpen": _PublicNetwork(("generator.input.input", "final_linear.0.weight"), GPEN),
    "vgg19": _PublicNetwork(("features.0.weight", "features.34.weight"), lambda: VGGFeatures(VGGSettings())),
    "vgg16": _PublicNetwork(("features.0.weight", "features.28.weight"), lambda: VGGFeatures(_VGG16)),
}
_OTHERS = {
    "GFPGAN v1 in its first form (this program takes v1.3 and v1.4)": (
        "stylegan_decoder.style_convs.0.modulated_conv.weight",
        "conv_body_first.0.weight",
    ),
    "CodeFormer": ("fuse_convs_dict.32.scale.0.weight", "position_emb"),
    "RestoreFormer": ("decoder.mid.attn_1.q.weight", "quantize.embedding.weight"),
    "Wav2Lip's visual quality discriminator": (
        "binary_pred.0.weight",
        "face_encoder_blocks.0.0.conv_block.0.weight",
    ),
    "the face detector S3FD": ("conv3_3_norm.weight", "conv1_1.weight"),
    "Real-ESRGAN": ("conv_first.weight", "body.0.rdb1.conv1.weight"),
}
"""Files that people have beside these, by names that they hold."""


@dataclass(frozen=True, slots=True)
class PublicWeights:
    """What a public file holds."""

    path: Path
    architecture: str
    """A key of `PUBLIC`."""
    tensors: Mapping[str, Tensor]
    """Without the wrappings around them."""

    def network(self) -> nn.Module:
        """The network with these weights, in eval mode, float32 on the CPU.

        Raises WeightsError unless names and shapes all fit; SettingsError when it is VQFR and torchvision is
        not installed.
        """
        network = PUBLIC[self.architecture].build()
        tensors = self.tensors
        if isinstance(network, VGGFeatures):
            tensors = network.own_weights(tensors)
        fill(network, tensors, self.path)
        return network.eval()


def load_public(path: Path, architecture: str | None = None) -> nn.Module:
    """The network of a public checkpoint, with its weights, in eval mode, float32 on the CPU.

    architecture (one of `PUBLIC`): what it has to be; None takes any. Wrappings (`state_dict`, `params_ema`,
    `params`) are taken off and the prefix `module.` stripped. Raises WeightsError when the file is missing,
    damaged, holds code, or is not of (that) one of these networks; SettingsError when it is of VQFR and
    torchvision is not installed.
    """
    if architecture is not None and architecture not in PUBLIC:
        raise WeightsError(f"no public network is called '{architecture}': known are {', '.join(PUBLIC)}")
    return read_public(path, *([architecture] if architecture else [])).network()


def read_public(path: Path, *allowed: str) -> PublicWeights:
    """The weights of a public checkpoint, which must be of one of the `allowed` networks (none named: any).

    Raises WeightsError as `load_public`.
    """
    tensors = _state(path, _read(path))
    found = next((name for name, net in PUBLIC.items() if tensors.keys() >= set(net.parameters)), None)
    if found is None:
        other = next((what for what, keys in _OTHERS.items() if tensors.keys() >= set(keys)), None)
        looks = "" if other is None else f"these look like weights of {other}; "
        raise WeightsError(f"{path}: {looks}the weights of none of these networks: {', '.join(PUBLIC)}")
    if allowed and found not in allowed:
        raise WeightsError(f"{path}: these are weights of '{found}', not of '{' or '.join(allowed)}'")
    return PublicWeights(path, found, tensors)


def is_public(path: Path) -> bool:
    """Whether a file may hold a public network: anything but a checkpoint of our own.

    Raises WeightsError when it cannot be read.
    """
    if not _is_safetensors(_start(path)):
        return path.suffix != ".safetensors"  # that would be a damaged checkpoint
    try:
        with safe_open(path, framework="pt") as file:
            architecture = (file.metadata() or {}).get("architecture")
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return architecture is None or architecture in PUBLIC


def _read(path: Path) -> object:
    """What the file holds, as tensors and plain containers; its name does not matter."""
    start = _start(path)
    if _is_safetensors(start):
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from error
    if not start.startswith(_TORCH_SAVE):
        if path.suffix == ".safetensors":
            raise _damaged(path, ValueError("no safetensors header"))
        raise WeightsError(f"{path}: not a file of weights (neither torch.save's nor safetensors)")
    if _is_torchscript(path):
        raise WeightsError(
            f"{path}: a TorchScript program, not plain weights: save its state_dict() with torch.save"
        )
    return _read_pickle(path)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from error


def _is_safetensors(start: bytes) -> bool:
    """By its first bytes: the length of the header, which is JSON."""
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # torch warns of other pickle protocols; if they do not load, the error below says so.
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is not None:
            raise WeightsError(
                f"{path}: holds code ({code[1]}) besides weights and was not loaded, to be safe: "
                "save its state_dict() alone with torch.save"
            ) from error
        raise _damaged(path, error) from error
    return content


def _state(path: Path, content: object) -> dict[str, Tensor]:
    """Name -> tensor, out of the wrappings that training scripts put around it."""
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPINGS if isinstance(content.get(key), Mapping)), None)
        content = content if inner is None else inner
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: not a table of named weights (a state_dict)")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
    return WeightsError(f"{path}: truncated or damaged ({reason}): fetch it again")
