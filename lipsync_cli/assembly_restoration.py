"""Names and settings -> the restorer of a dub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipsync_cli.dubbing.job import DubSettings, NetworkUsed

if TYPE_CHECKING:
    from lipsync_cli.device import Execution
    from lipsync_cli.interfaces import Restorer

_NETWORKS = {"vqfr": ("vqfr_v2", "vqfr_v1"), "gfpgan": ("gfpgan",), "gpen": ("gpen",)}
"""Value of --restore -> architectures that may stand behind it; the first is also the name of the default
weights in the registry."""


def make_restorer(settings: DubSettings, execution: Execution, used: list[NetworkUsed]) -> Restorer | None:
    """The network that the settings' `restore` asks for; None for 'none' and 'light'.

    `used` is told of its file. WeightsError when that is missing, damaged or of another network,
    SettingsError when VQFR is asked for without torchvision.
    """
    if settings.restore not in _NETWORKS:
        return None
    from lipsync_cli.models.restorers.restorer import NetworkRestorer
    from lipsync_cli.registry.public import read_public
    from lipsync_cli.registry.store import find_weights, sha256_of

    architectures = _NETWORKS[settings.restore]
    name = settings.restore_weights or architectures[0]
    path = find_weights(name)
    network = read_public(path, *architectures).network()
    used.append(NetworkUsed("restorer", name, sha256_of(path)))
    return NetworkRestorer(network, execution, fidelity=settings.restore_fidelity)
