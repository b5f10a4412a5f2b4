"""Files of weights -> networks behind the protocols: our own checkpoints, and the public files of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lipsync_cli.dubbing.job import DubSettings, NetworkUsed
from lipsync_cli.errors import SettingsError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lipsync_cli.device import Execution
    from lipsync_cli.evaluation.pairs import ExaminedNetwork
    from lipsync_cli.interfaces import FaceDetector, FaceGenerator, LandmarkFinder, Restorer

_ROLES = ("silent_lip", "talking_face")
_NO_PAPER_SET = (
    "--model paper: the paper's networks do not come with lipsync_cli; train them with `lipsync train` and "
    "the settings of configs/paper, then give --model TALKING_FACE_FILE --silent-lip SILENT_LIP_FILE"
)
_RESTORERS = {"vqfr": ("vqfr_v2", "vqfr_v1"), "gfpgan": ("gfpgan",), "gpen": ("gpen",)}
"""Value of --restore -> architectures that may stand behind it; the first is also the name of the default
weights in the registry."""
_GENERATOR_FACTS = ("image_size", "n_references", "hears", "scalable")


@dataclass(frozen=True)
class DrawingNetworks:
    """The networks that are run by torch."""

    execution: Execution
    generators: tuple[FaceGenerator, FaceGenerator]
    """G_S and G_L."""
    restorer: Restorer | None


@dataclass(frozen=True)
class DubNetworks:
    """What is read from files of weights for a dub, whatever the video: it serves any number of dubs."""

    faces: tuple[FaceDetector, LandmarkFinder]
    drawing: Callable[[], DrawingNetworks]
    """The same at each call; waits until they are loaded, and raises what went wrong with that."""
    used: tuple[NetworkUsed, ...]
    """Their files."""


def load_networks(settings: DubSettings) -> DubNetworks:
    """The networks that the settings ask for. Raises WeightsError or SettingsError."""
    with networks_beside(settings) as networks:
        networks.drawing()
        return networks


@contextmanager
def networks_beside(settings: DubSettings) -> Iterator[DubNetworks]:
    """`load_networks`, with those of torch loaded by a thread of its own, which ends with the context.

    Getting torch ready takes longer than all else before the first frame, and a video can be watched without
    it. Only what has no way left to fail is waited for so late: the default networks, whose checksums are
    right, on a device that is there. All others are loaded when this returns.

    Raises WeightsError or SettingsError, also from `DubNetworks.drawing`.
    """
    used: list[NetworkUsed] = []
    files = find_generators(settings, used)
    faces = make_face_finder(settings.detector, settings.device, used)
    restorer = _find_restorer(settings, used)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load_drawing, settings, files, restorer)
        if not _cannot_fail(settings):
            loading.result()
        yield DubNetworks(faces, loading.result, tuple(used))


def _cannot_fail(settings: DubSettings) -> bool:
    """Whether loading brings nothing to light any more."""
    is_shipped = settings.model == "default" and restorer_weights(settings) is None
    return is_shipped and settings.device in ("auto", "cpu") and settings.precision == "auto"


def _load_drawing(settings: DubSettings, files: tuple[Path, Path], restorer: Path | None) -> DrawingNetworks:
    """Read the files and place the networks, on as few cores as they have in a dub."""
    from lipsync_cli.device import beside_other_work

    with beside_other_work():
        execution = make_execution(settings.device, settings.precision)
        return DrawingNetworks(
            execution,
            load_generators(files, execution),
            None if restorer is None else load_restorer(restorer, settings, execution),
        )


def make_execution(device: str, precision: str) -> Execution:
    """Where networks run and in what; SettingsError when the machine cannot."""
    from lipsync_cli.device import Execution, resolve_device, resolve_precision

    resolved = resolve_device(device)
    return Execution(resolved, resolve_precision(precision, resolved))


def find_generators(settings: DubSettings, used: list[NetworkUsed]) -> tuple[Path, Path]:
    """The files of the silent-lip and the talking-face generator that the settings ask for (may be one file).

    `used` is told of them. WeightsError when one is missing, or not the file that the registry knows.
    """
    from lipsync_cli.registry.store import find_weights, load_registry

    if settings.model in ("default", "paper"):
        registry = load_registry()
        if settings.model == "paper" and "paper" not in registry.sets:
            raise WeightsError(_NO_PAPER_SET)
        names = [registry.name_for(role, settings.model) for role in _ROLES]
    else:
        names = [str(settings.silent_lip or settings.model), settings.model]
    silent_lip, talking_face = (find_weights(name) for name in names)
    for role, name, path in zip(_ROLES, names, (silent_lip, talking_face), strict=True):
        used.append(note_of(role, name, path))
    return silent_lip, talking_face


def load_generators(files: tuple[Path, Path], execution: Execution) -> tuple[FaceGenerator, FaceGenerator]:
    """The silent-lip and the talking-face generator (they may be one network).

    WeightsError when one is damaged, no face generator, or not made for the other.
    """
    silent_lip = load_generator(files[0], execution)
    talking_face = silent_lip if files[0] == files[1] else load_generator(files[1], execution)
    for fact in _GENERATOR_FACTS:
        ours, theirs = getattr(silent_lip, fact), getattr(talking_face, fact)
        if ours != theirs:
            raise WeightsError(
                f"{files[0]} and {files[1]} do not work together: their {fact} is {ours} and {theirs}"
            )
    return silent_lip, talking_face


def make_face_finder(name: str, device: str, used: list[NetworkUsed]) -> tuple[FaceDetector, LandmarkFinder]:
    """`mediapipe` or `fan` -> detector and landmarks; `used` is told of their files.

    device: one of `device.DEVICES`; only `fan` asks.
    """
    from lipsync_cli.faces.detector import FullRangeDetector
    from lipsync_cli.faces.landmarks import MeshLandmarks
    from lipsync_cli.registry.store import find_weights, load_registry

    if name == "fan":
        from lipsync_cli.device import resolve_device
        from lipsync_cli.faces import fan

        faces = fan.FanFaces(resolve_device(device).type)
        files = [fan.weights_folder() / file for file in fan.FILES]
        used += [note_of("faces", path.name, path) for path in files]
        return faces, faces
    if name != "mediapipe":
        raise SettingsError(f"unknown detector '{name}': use mediapipe or fan")
    names = {role: load_registry().name_for(role) for role in ("face_detector", "face_landmarks")}
    paths = {role: find_weights(found) for role, found in names.items()}
    used += [note_of(role, names[role], path) for role, path in paths.items()]
    return FullRangeDetector(paths["face_detector"]), MeshLandmarks(paths["face_landmarks"])


def note_of(role: str, name: str, path: Path) -> NetworkUsed:
    """What a report says of a network. WeightsError when its file cannot be read."""
    from lipsync_cli.registry.store import sha256_of

    return NetworkUsed(role, name, sha256_of(path))


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


def load_sync_scorer(path: Path, execution: Execution, *public: str) -> nn.Module:
    """The sync network of a checkpoint, or of a public file: a `SyncScorer` on its device.

    public: architectures of public files that will do; default SyncNet_color. WeightsError when the file is
    missing, damaged or no sync network.
    """
    network = _load(path, *(public or ("syncnet_color",)))
    if not hasattr(network, "lips_size"):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a sync network")
    return execution.place(network)


def load_examined(path: Path, execution: Execution) -> ExaminedNetwork:
    """A sync network of any kind with what it has to be shown: also SyncNet v2, of its public file.

    WeightsError when the file is missing, damaged or no sync network.
    """
    from lipsync_cli.evaluation.pairs import ExaminedNetwork
    from lipsync_cli.models.public_adapters import SyncNetV2Cosine

    scorer: Any = load_sync_scorer(path, execution, "syncnet_color", "syncnet_v2")
    if isinstance(scorer, SyncNetV2Cosine):
        return ExaminedNetwork(scorer, sees="face", hears="mfcc")
    return ExaminedNetwork(scorer)


def make_restorer(settings: DubSettings, execution: Execution, used: list[NetworkUsed]) -> Restorer | None:
    """The network that the settings' `restore` asks for; None for 'none' and 'light'.

    `used` is told of its file. WeightsError when that is missing, damaged or of another network,
    SettingsError when VQFR is asked for without torchvision.
    """
    path = _find_restorer(settings, used)
    return None if path is None else load_restorer(path, settings, execution)


def load_restorer(path: Path, settings: DubSettings, execution: Execution) -> Restorer:
    """The restorer of a file; raises as `make_restorer`."""
    from lipsync_cli.models.restorers.restorer import NetworkRestorer
    from lipsync_cli.registry.public import read_public

    network = read_public(path, *_RESTORERS[settings.restore]).network()
    return NetworkRestorer(network, execution, fidelity=settings.restore_fidelity)


def _find_restorer(settings: DubSettings, used: list[NetworkUsed]) -> Path | None:
    from lipsync_cli.registry.store import find_weights

    name = restorer_weights(settings)
    if name is None:
        return None
    path = find_weights(name)
    used.append(note_of("restorer", name, path))
    return path


def restorer_weights(settings: DubSettings) -> str | None:
    """Name in the registry, or file, of the network that the settings' `restore` asks for; None for none."""
    if settings.restore not in _RESTORERS:
        return None
    return settings.restore_weights or _RESTORERS[settings.restore][0]


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


def _load(path: Path, *public: str) -> nn.Module:
    """The network of a checkpoint of ours; of any other file the public one of such a name, adapted."""
    from lipsync_cli.models import public_adapters
    from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
    from lipsync_cli.models.wav2lip import Wav2Lip
    from lipsync_cli.registry.checkpoint import load_network
    from lipsync_cli.registry.public import is_public, read_public

    if not is_public(path):
        return load_network(path)
    network = read_public(path, *public).network()
    if isinstance(network, Wav2Lip):
        return public_adapters.Wav2LipGenerator(network)
    if isinstance(network, SyncNetColor):
        return public_adapters.SyncNetColorScorer(network)
    if isinstance(network, SyncNetV2):
        return public_adapters.SyncNetV2Cosine(network)
    raise ValueError(f"{public} has no adapter")
