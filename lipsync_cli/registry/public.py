"""Weights that people own already: recognised by the names of their parameters, read without running code.

Known: Wav2Lip and its SyncNet_color (Rudrabha/Wav2Lip), SyncNet v2 (joonson/syncnet_python), VQFR v1 and v2
(TencentARC/VQFR), GFPGAN v1.3 and v1.4 (TencentARC/GFPGAN), GPEN-BFR-512 (yangxy/GPEN), FID's Inception
(mseitzer/pytorch-fid), torchvision's VGG-16 and VGG-19; as torch.save wrote them or as safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.models.inception import FidInception
from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.models.restorers.vqfr_v1 import VQFRv1
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.vgg import VGGFeatures, VGGSettings
from lipsync_cli.models.wav2lip import Wav2Lip
from lipsync_cli.registry.checkpoint import fill
from lipsync_cli.registry.reading import Table, damaged, first_bytes, is_safetensors, read_tables


@dataclass(frozen=True, slots=True)
class _PublicNetwork:
    parameters: tuple[str, ...]
    """Names that this network has and none of those after it in the table."""
    build: Callable[[], nn.Module]
    without: tuple[str, ...] = ()
    """Names that only its larger relations have."""


_ALIKE = 0.5
"""Share of a network's names from which on a file is said to look like it."""
_COUNT = ".num_batches_tracked"
"""Files written before PyTorch 0.4.1 (2018) lack it; a network in eval mode makes no use of it."""
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
    "gpen": _PublicNetwork(
        ("generator.input.input", "final_linear.0.weight", "ecd7.0.1.weight"),
        GPEN,
        without=("ecd8.0.1.weight",),
    ),
    "fid_inception": _PublicNetwork(("Mixed_7c.branch_pool.conv.weight", "fc.weight"), FidInception),
    "vgg19": _PublicNetwork(("features.0.weight", "features.34.weight"), lambda: VGGFeatures(VGGSettings())),
    "vgg16": _PublicNetwork(("features.0.weight", "features.28.weight"), lambda: VGGFeatures(_VGG16)),
}
_OTHERS = {
    "GPEN of 1024 or 2048 pixels (this program takes GPEN-BFR-512)": (
        "generator.input.input",
        "ecd8.0.1.weight",
    ),
    "GPEN of 256 pixels (this program takes GPEN-BFR-512)": ("generator.input.input", "ecd6.0.1.weight"),
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
        counts = {name: value for name, value in network.state_dict().items() if name.endswith(_COUNT)}
        tensors = {**counts, **tensors}
        fill(network, tensors, self.path)
        return network.eval()


def load_public(path: str | Path, architecture: str | None = None) -> nn.Module:
    """The network of a public checkpoint, with its weights, in eval mode, float32 on the CPU.

    architecture (one of `PUBLIC`): what it has to be; None takes any. Tables inside others (`state_dict`,
    `params_ema`, ...) are found and the prefixes of wrappers (`module.`) taken off; the forward signature is
    the public one. Raises WeightsError when the file is missing, damaged, holds code, or is not of (that) one
    of these networks; SettingsError when it is of VQFR and torchvision is not installed.
    """
    if architecture is not None and architecture not in PUBLIC:
        raise WeightsError(f"no public network is called '{architecture}': known are {', '.join(PUBLIC)}")
    return read_public(Path(path), *([architecture] if architecture else [])).network()


def read_public(path: Path, *allowed: str) -> PublicWeights:
    """The weights of a public checkpoint, which must be of one of the `allowed` networks (none named: any).

    Raises WeightsError as `load_public`.
    """
    tables = read_tables(path)
    found, tensors = next(
        ((name, table) for table in tables for name in PUBLIC if _is_of(name, table)), (None, tables[0])
    )
    if found is None:
        raise WeightsError(
            f"{path}: {_looks(path, tables)}the weights of none of these networks: {', '.join(PUBLIC)}"
        )
    if allowed and found not in allowed:
        raise WeightsError(f"{path}: these are weights of '{found}', not of '{' or '.join(allowed)}'")
    _check_numbers(path, tensors)
    return PublicWeights(path, found, tensors)


def is_public(path: Path) -> bool:
    """Whether a file may hold a public network: anything but a checkpoint of our own.

    Raises WeightsError when it cannot be read.
    """
    if not is_safetensors(first_bytes(path)):
        return path.suffix != ".safetensors"  # that would be a damaged checkpoint
    architecture = _stated(path)
    return architecture is None or architecture in PUBLIC


def _stated(path: Path) -> str | None:
    """The architecture that a safetensors file names, as checkpoints of our own do; None for all others."""
    if not is_safetensors(first_bytes(path)):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("architecture")
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error


def _is_of(name: str, table: Table) -> bool:
    """Whether a table has the names that tell a network, and is of no other size of it."""
    network = PUBLIC[name]
    return table.keys() >= set(network.parameters) and table.keys().isdisjoint(network.without)


def _other(table: Table) -> str | None:
    return next((what for what, names in _OTHERS.items() if table.keys() >= set(names)), None)


def _looks(path: Path, tables: list[Table]) -> str:
    """What files of no known network are nearest to: another one that people have, or one with names lost."""
    own = _stated(path)
    if own is not None:
        return f"a checkpoint of lipsync's own ('{own}'), to be used by its path (--model); "
    others = [what for what in map(_other, tables) if what is not None]
    if others:
        return f"these look like weights of {others[0]}; "
    shares = [(share, name) for table in tables for name in PUBLIC if (share := _share(table, name)) > _ALIKE]
    if not shares:
        return ""
    share, name = max(shares)
    missing = sorted(set(PUBLIC[name].parameters) - tables[0].keys())
    return f"these look like weights of '{name}' ({share:.0%} of its names), without {', '.join(missing)}; "


def _share(table: Table, name: str) -> float:
    """How many of the names of a network a table has, of all; 0 when the network cannot be built here."""
    try:
        with torch.device("meta"):
            names = PUBLIC[name].build().state_dict().keys()
    except SettingsError:
        return 0.0
    return len(names & table.keys()) / len(names)


def _check_numbers(path: Path, table: Table) -> None:
    """WeightsError when some weights are not finite: every face would be black."""
    wrong = [name for name, tensor in table.items() if not bool(tensor.isfinite().all())]
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} of its weights hold values that are no numbers (first: {wrong[0]}): "
            "a training that went wrong, or a damaged file: fetch it again"
        )
