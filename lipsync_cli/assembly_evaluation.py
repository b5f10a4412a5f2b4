"""Names and settings -> what videos are measured with, and what makes the videos of a run over a corpus."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lipsync_cli.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipsync_cli.evaluation.cases import VideoMaker
    from lipsync_cli.evaluation.clip_figures import Instruments
    from lipsync_cli.evaluation.folders import Pair
    from lipsync_cli.evaluation.pairs import ExaminedNetwork
    from lipsync_cli.evaluation.results import LeftOut

_T = TypeVar("_T")
Baseline = Literal["real", "static", "shuffled"]
CorpusName = Literal["lrs2", "lrw", "hdtf", "grid", "folder"]


def make_instruments(  # noqa: PLR0913 - each is a choice of the user
    *,
    sync_network: str,
    syncnet_v2: str | None,
    lse_protocol: Literal["lrs", "tracks"],
    device: str,
    inception: str | None = None,
    identity: str | None = None,
    model: str | None = None,
    restore: str = "none",
    baseline: Baseline | None = None,
) -> Instruments:
    """What videos are measured with, in full precision, and made with where they are made.

    Raises WeightsError when a network is missing, damaged or another than it should be.
    """
    from lipsync_cli.assembly_networks import load_sync_scorer, make_execution, make_face_finder
    from lipsync_cli.evaluation import making
    from lipsync_cli.evaluation.clip_figures import Instruments
    from lipsync_cli.evaluation.features import LipsFeatures, PictureFeatures
    from lipsync_cli.evaluation.sync import SyncEmbedder
    from lipsync_cli.faces.recognition import SFace
    from lipsync_cli.registry.public import load_public
    from lipsync_cli.registry.store import find_weights

    execution = make_execution(device, "fp32")
    detector, finder = make_face_finder("mediapipe", device, [])
    scorer: Any = None
    if sync_network != "none":
        scorer = load_sync_scorer(sync_path(sync_network), execution)
    lse: Any = None
    if syncnet_v2 is not None:
        lse = execution.place(load_public(find_weights(syncnet_v2), "syncnet_v2"))
    make: Any = None
    if baseline == "static":
        make = partial(making.still_video, detector=detector, finder=finder)
    elif baseline == "shuffled":
        make = making.with_other_sound
    elif model is not None:
        make = _dubber(model, restore, device)
    features: dict[str, Any] = {}
    if inception is not None:
        network = execution.place(load_public(find_weights(inception), "fid_inception"))
        features["fid"] = PictureFeatures(network, execution.device)
    if isinstance(scorer, SyncEmbedder):
        features["frechet_lips"] = LipsFeatures(scorer, execution.device)
    recognizer = None if identity is None else SFace(find_weights(identity))
    return Instruments(detector, finder, scorer, lse, lse_protocol, make, features, recognizer)


def sync_path(name: str) -> Path:
    """The file of a sync network: 'default', a name in the registry, or a file."""
    from lipsync_cli.registry.store import find_for_role, find_weights

    return find_for_role("avsyncnet") if name == "default" else find_weights(name)


def network_hashes(
    sync_network: str,
    syncnet_v2: str | None,
    inception: str | None,
    *,
    identity: str | None = None,
    model: str | None = None,
    restore: str = "none",
) -> dict[str, str]:
    """Network -> sha256 of its file; those that make videos only with a model.

    Raises WeightsError when one is missing.
    """
    from lipsync_cli.assembly_networks import restorer_weights
    from lipsync_cli.dubbing.job import DubSettings
    from lipsync_cli.registry.store import find_for_role, find_weights, sha256_of

    roles = ("face_detector", "face_landmarks")
    hashes = {f"{role}_sha256": sha256_of(find_for_role(role)) for role in roles}
    if sync_network != "none":
        hashes["sync_network_sha256"] = sha256_of(sync_path(sync_network))
    for name, file in {"syncnet_v2": syncnet_v2, "inception": inception, "identity": identity}.items():
        if file is not None:
            hashes[f"{name}_sha256"] = sha256_of(find_weights(file))
    if model is not None:
        path = find_for_role("talking_face") if model == "default" else find_weights(model)
        hashes["model_sha256"] = sha256_of(path)
        values: dict[str, Any] = {"restore": restore}
        if (restorer := restorer_weights(DubSettings(**values))) is not None:
            hashes["restorer_sha256"] = sha256_of(find_weights(restorer))
    return hashes


def corpus_pairs(  # noqa: PLR0913 - each is a choice of the user
    dataset: CorpusName,
    root: Path,
    work: Path,
    *,
    split: str | None,
    unpaired: Path | None,
    limit: int | None,
    baseline: Baseline | None,
    own_offset: float | None,
) -> tuple[list[Pair], list[LeftOut]]:
    """What a run over a corpus makes and measures, and what is missing. Raises DataError."""
    from lipsync_cli.data.corpora.choose import list_corpus
    from lipsync_cli.evaluation.cases import own_speech, pairs_of, read_unpaired

    if unpaired is not None and baseline == "real":
        raise SettingsError("--baseline real goes with paired runs: nobody filmed the unpaired ones")
    left_out: list[LeftOut] = []
    if unpaired is None:
        cases = own_speech(list_corpus(dataset, root, split))
    else:
        cases, left_out = read_unpaired(unpaired, root)
    chosen = _spread(cases, limit)
    is_shuffled, is_real = baseline == "shuffled", baseline == "real"
    return pairs_of(chosen, work, shuffled=is_shuffled, real=is_real, own_offset=own_offset), left_out


_TRAINED_ON = frozenset({"s1", "s3", "s4", "s16", "s20", "s22", "s26", "s32", "s34"})
_CHOSEN_ON = frozenset({"s2", "s27"})
"""Speakers of GRID in the training and the choice of the shipped networks (weights/README.md)."""


def not_kept_out(dataset: CorpusName | None, names: Sequence[str], networks: Sequence[str | None]) -> str:
    """A line about speakers that the shipped networks know already; empty where they know none.

    names: of the clips, SPEAKER/CLIP; networks: those that take part ('default': shipped).
    """
    if dataset != "grid" or "default" not in networks:
        return ""
    speakers = {name.split("/")[0] for name in names}
    known = sorted(speakers & (_TRAINED_ON | _CHOSEN_ON), key=lambda name: (len(name), name))
    if not known:
        return ""
    return (
        f"the shipped networks were trained on, or chosen by, {len(known)} of the {len(speakers)} speakers "
        f"({', '.join(known)}), which flatters them; --split s10,s23,s25,s30 are people they never saw"
    )


def _spread(cases: list[_T], limit: int | None) -> list[_T]:
    """At most so many, evenly over the corpus."""
    if limit is None or len(cases) <= limit:
        return cases
    return [cases[index * len(cases) // limit] for index in range(limit)]


def load_examined_networks(names: Sequence[str], device: str) -> dict[str, ExaminedNetwork]:
    """Sync networks by name; WeightsError when one is missing, damaged or no sync network."""
    from lipsync_cli.assembly_networks import load_examined, make_execution

    execution = make_execution(device, "fp32")
    return {name: load_examined(sync_path(name), execution) for name in names}


def scorer_hashes(names: Sequence[str]) -> dict[str, str]:
    """Name of a sync network -> sha256 of its file."""
    from lipsync_cli.registry.store import sha256_of

    return {name: sha256_of(sync_path(name)) for name in names}


def real_videos(
    dataset: CorpusName | None, folder: Path, *, split: str | None, limit: int | None
) -> dict[str, Path]:
    """Name -> file of the real videos of a corpus (parts of videos: the whole video, once) or of a folder.

    Raises DataError when there is none.
    """
    from lipsync_cli.data.corpora.choose import list_corpus

    clips = list_corpus(dataset or "folder", folder, split)
    by_path = {clip.path: f"{clip.speaker}/{clip.name}" for clip in clips}
    return {name: path for path, name in _spread(list(by_path.items()), limit)}


def _dubber(model: str, restore: str, device: str) -> VideoMaker:
    """Dubs with a model of ours or of the user's, which is loaded once."""
    from lipsync_cli import assembly
    from lipsync_cli.assembly_networks import load_networks
    from lipsync_cli.dubbing.job import DubJob, DubSettings

    values: dict[str, Any] = {"model": model, "restore": restore, "device": device}
    settings = DubSettings(**values)
    networks = load_networks(settings)

    def make(video: Path, speech: Path, output: Path) -> None:
        # what a run that was killed left of this clip is gone on with, or else thrown away
        assembly.dub(DubJob(video, speech, output, settings, resume=None), networks=networks)

    return make
