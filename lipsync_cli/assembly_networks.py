"""Files of weights -> networks behind the protocols: our own checkpoints, and the public files of users."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lipsync_cli.dubbing.job import DubSettings, NetworkUsed
from lipsync_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lipsync_cli.device import Execution
    from lipsync_cli.interfaces import FaceGenerator, Restorer

_RESTORERS = {"vqfr": ("vqfr_v2", "vqfr_v1"), "gfpgan": ("gfpgan",), "gpen": ("gpen",)}
"""Value of --restore -> architectures that may stand behind it; the first is also the name of the default
weights in the registry."""
_GENERATOR_FACTS = ("image_size", "n_references", "hears", "scalable")


def load_generator(path: Path, execution: Execution) -> FaceGenerator:
    """The face generator of a checkpoint, or Wav2Lip of its public file.

    WeightsError when the file is missing, damaged or no face generator.
    """
    from lipsync_cli.models.fused import fold_norms, store_weights_as

    network = _load(path, "wav2lip")
    if not all(hasattr(network, fact) for fact in _GENERATOR_FACTS):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a face generator")
    described = cast("FaceGenerator", network)
    store_weights_as(fold_norms(network.eval()), execution.dtype)
    return _PlacedGenerator(
        execution.place(network),
        execution,
        image_size=described.image_size,
        n_references=described.n_references,
        hears=described.hears,
        scalable=described.scalable,
    )


def load_sync_scorer(path: Path, execution: Execution) -> nn.Module:
    """The sync network of a checkpoint, or SyncNet_color of its public file: a `SyncScorer` on its device.

    WeightsError when the file is missing, damaged or no sync network.
    """
    network = _load(path, "syncnet_color")
    if not hasattr(network, "lips_size"):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a sync network")
    return execution.place(network)


def make_restorer(settings: DubSettings, execution: Execution, used: list[NetworkUsed]) -> Restorer | None:
    """The network that the settings' `restore` asks for; None for 'none' and 'light'.

    `used` is told of its file. WeightsError when that is missing, damaged or of another network,
    SettingsError when VQFR is asked for without torchvision.
    """
    if settings.restore not in _RESTORERS:
        return None
    from lipsync_cli.models.restorers.restorer import NetworkRestorer
    from lipsync_cli.registry.public import read_public
    from lipsync_cli.registry.store import find_weights, sha256_of

    architectures = _RESTORERS[settings.restore]
    name = settings.restore_weights or architectures[0]
    path = find_weights(name)
    network = read_public(path, *architectures).network()
    used.append(NetworkUsed("restorer", name, sha256_of(path)))
    return NetworkRestorer(network, execution, fidelity=settings.restore_fidelity)


@dataclass
class _PlacedGenerator:
    """A face generator on its device, that takes and gives tensors of the CPU."""

    network: nn.Module
    execution: Execution
    image_size: int
    n_references: int
    hears: str
    scalable: bool

    def __call__(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        return self.execution.run(self.network, speech, references, pose)


def _load(path: Path, public: str) -> nn.Module:
    """The network of a checkpoint of ours; of any other file the public network of that name, adapted."""
    from lipsync_cli.models import public_adapters
    from lipsync_cli.models.syncnet import SyncNetColor
    from lipsync_cli.models.wav2lip import Wav2Lip
    from lipsync_cli.registry.checkpoint import load_network
    from lipsync_cli.registry.public import is_public, read_public

    if not is_public(path):
        return load_network(path)
    network = read_public(path, public).network()
    if isinstance(network, Wav2Lip):
        return public_adapters.Wav2LipGenerator(network)
    if isinstance(network, SyncNetColor):
        return public_adapters.SyncNetColorScorer(network)
    raise ValueError(f"'{public}' has no adapter")
