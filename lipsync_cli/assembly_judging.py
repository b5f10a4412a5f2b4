"""What trainings look, hear and judge with: networks of other stages, landmarks, films, restorers."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lipsync_cli.assembly_networks import make_restorer
from lipsync_cli.data.features import Features
from lipsync_cli.data.layout import Clip
from lipsync_cli.device import Execution
from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.faces.align import align_face, anchors, joined, seen_through, to_template
from lipsync_cli.faces.landmarks import SCHEMES, MeshLandmarks, lips, opening
from lipsync_cli.interfaces import Box, Frame, Image, LandmarkFinder, Landmarks, Restorer
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.public_adapters import SyncNet, SyncNetColorScorer
from lipsync_cli.models.speech_embedding import STEP_WIDTH, SpeechEmbedding
from lipsync_cli.models.syncnet import SyncNetColor
from lipsync_cli.models.vgg import VGGFeatures
from lipsync_cli.regions import to_image, to_network
from lipsync_cli.registry.checkpoint import load_into, load_network
from lipsync_cli.registry.public import is_public, load_public, read_public
from lipsync_cli.registry.store import cache_folder, find_for_role, find_weights, search_folders
from lipsync_cli.speech.embedding_mel import N_BINS
from lipsync_cli.speech.inverse_mel import waveform_of_mel
from lipsync_cli.speech.windows import SpeechEmbeddingWindows
from lipsync_cli.training.avsyncnet import clip_offset
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import Look, Mouths
from lipsync_cli.training.film import Film
from lipsync_cli.training.generator import GeneratorTraining, Judges, hears_through_avsyncnet
from lipsync_cli.training.hearing import Hearing, embedding_hearing, feature_hearing
from lipsync_cli.training.plateau import Offset
from lipsync_cli.training.talking_face import TalkingFaceTraining

VGG_FILES = (
    "vgg19-dcbb9e9d.pth",
    "vgg19.safetensors",
    "vgg19.pth",
    "vgg16.safetensors",
    "vgg16-397923af.pth",
    "vgg16.pth",
)
"""What a VGG may be called in the folders of weights, the paper's (VGG-19) first."""

Network = TypeVar("Network", bound=nn.Module)
Restore = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Crops [N, S, S, 3] -> the same, sharpened."""


def look_by_landmarks() -> Look:
    """Crops -> mouths, by the face landmarks of the preparation."""
    finder = MeshLandmarks(find_for_role("face_landmarks"))

    def look(crops: NDArray[np.uint8]) -> Mouths:
        openings = np.zeros(len(crops), np.float32)
        points = np.full((len(crops), len(SCHEMES["mesh468"].lips), 2), np.nan, np.float32)
        for place, crop in enumerate(crops):
            landmarks = _landmarks(finder, crop)
            if landmarks is not None:
                openings[place] = opening(landmarks)
                points[place] = lips(landmarks)
        return Mouths(openings, points)

    return look


def measured_offset(compute: Compute) -> Offset | None:
    """Offsets by the registry's AVSyncNet, read when first asked for; None where its file is missing."""
    try:
        path = find_for_role("avsyncnet")
    except WeightsError:
        return None
    known: list[AVSyncNet] = []

    def offset(clip: Clip) -> int:
        if not known:
            known.append(compute.freeze(given_network(AVSyncNet, str(path), "avsyncnet", "avsyncnet")))
        return clip_offset(known[0], clip, compute)[0]

    return offset


def write_film(path: Path, film: Film) -> None:
    """A film with its sound as mp4. Raises MediaError."""
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.wav"
        sound = waveform_of_mel(film.mel)
        with wave.open(str(speech), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sound.sample_rate)
            file.writeframes((sound.samples * 32767).astype("<i2").tobytes())
        height, width = film.frames.shape[1:3]
        with VideoWriter(path, width=width, height=height, rate=Fraction(25), speech=speech) as writer:
            for index, image in enumerate(film.frames):
                writer.write(Frame(index, index / 25, image))


def given_network(kind: type[Network], name: str | None, role: str, stage: str) -> Network:
    """A network of another stage: the file or name that the settings give, else the registry's."""
    flag = "--" + role.replace("_", "-")
    try:
        path = find_weights(name) if name else find_for_role(role)
    except WeightsError as error:
        raise WeightsError(f"stage {stage} needs another stage's network ({flag} FILE): {error}") from error
    network = load_network(path)
    if not isinstance(network, kind):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a {kind.__name__}: name one with {flag}")
    return network


def speech_embedding() -> SpeechEmbedding:
    """The registry's. Raises WeightsError."""
    network = SpeechEmbedding().eval()
    load_into(network, find_for_role("speech_embedding"))
    return network


def _vgg(settings: GeneratorTraining) -> nn.Module | None:
    """The VGG that L_per and L_at need; None where both have coefficient 0."""
    needed = sorted(settings.coefficients.needed & {"perceptual", "triplet"})
    if not needed:
        return None
    if settings.vgg is not None:
        path = find_weights(settings.vgg)
    else:
        places = (folder / name for name in VGG_FILES for folder in search_folders())
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            keys = " and ".join(f"coefficients.{name}" for name in needed)
            zeros = " ".join(f"--set coefficients.{name}=0" for name in needed)
            raise SettingsError(
                f"a VGG is needed for {keys}: put torchvision's {VGG_FILES[0]} (the paper's VGG-19), or a "
                f"VGG-16 that weights/scripts/convert_vgg16.py made (vgg16.safetensors), into "
                f"{cache_folder()}, or name one with --vgg FILE; to train without it: {zeros}"
            )
        path = found
    network = load_public(path)
    if not isinstance(network, VGGFeatures):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a VGG-19 or VGG-16")
    return network


def judges_of(settings: GeneratorTraining, stage: str, device: torch.device | None = None) -> Judges:
    """The frozen networks that the settings ask for. Raises WeightsError, SettingsError or DataError."""
    sync: nn.Module | None = None
    avsyncnet: AVSyncNet | None = None
    talking = settings if isinstance(settings, TalkingFaceTraining) else None
    if talking is not None and talking.sync_network == "syncnet":
        sync = _syncnet(talking, stage)
    if hears_through_avsyncnet(settings) or (talking is not None and sync is None):
        avsyncnet = given_network(AVSyncNet, settings.avsyncnet, "avsyncnet", stage)
    judges = Judges(avsyncnet, _vgg(settings), sync, _hearing(settings))
    if talking is not None and talking.restorer != "none":
        return replace(judges, restore=_restore(talking, device))
    return judges


def _syncnet(settings: TalkingFaceTraining, stage: str) -> nn.Module:
    """A SyncNet of stage syncnet, or Wav2Lip's public file."""
    path = find_weights(settings.syncnet or "syncnet_color")
    if is_public(path):
        network = read_public(path, "syncnet_color").network()
        if isinstance(network, SyncNetColor):
            return SyncNetColorScorer(network)
    return given_network(SyncNet, str(path), "syncnet", stage)


def _hearing(settings: GeneratorTraining) -> Hearing:
    listens, numbers = settings.network.listens, settings.network.features
    if listens == "mel":
        return Hearing()
    if listens == "features":
        return feature_hearing(Features(settings.features, numbers.n_steps, numbers.width))
    if (numbers.n_steps, numbers.width) != (SpeechEmbeddingWindows.N_STEPS, STEP_WIDTH):
        raise SettingsError(
            f"network.features is {numbers.n_steps} steps of {numbers.width}, but the speech embedding has "
            f"{SpeechEmbeddingWindows.N_STEPS} of {STEP_WIDTH}: leave them as they are"
        )
    nothing = np.zeros((0, N_BINS), np.float32)
    return embedding_hearing(SpeechEmbeddingWindows(nothing, speech_embedding().steps).around([0.0])[0])


def _restore(settings: TalkingFaceTraining, device: torch.device | None) -> Restore:
    """The settings' restorer, for crops."""
    dub = DubSettings(restore=settings.restorer, restore_weights=settings.restorer_weights)
    restorer = make_restorer(dub, Execution(device or torch.device("cpu")), [])
    if restorer is None:
        raise ValueError(f"'{settings.restorer}' is no restorer")
    return restore_crops(restorer, MeshLandmarks(find_for_role("face_landmarks")))


def restore_crops(restorer: Restorer, finder: LandmarkFinder) -> Restore:
    """A restorer -> crops [N, S, S, 3], sharpened at their size; a crop without a face stays as it is."""
    template = restorer.template

    def one(crop: Image) -> Image:
        side = crop.shape[0]
        landmarks = _landmarks(finder, crop)
        if template is None:
            answer = to_image(restorer(to_network(crop[None])))[0]
            return np.asarray(cv2.resize(answer, (side, side), interpolation=cv2.INTER_AREA))
        if landmarks is None:
            return crop
        matrix = to_template(anchors(landmarks), np.asarray(template.anchors, np.float32))
        answer = to_image(restorer(to_network(align_face(crop, matrix, template.size)[None])))[0]
        scale = answer.shape[0] / template.size
        to_answer = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
        return seen_through(answer, joined(to_answer, matrix), side)

    return lambda crops: np.stack([one(crop) for crop in crops])


def _landmarks(finder: LandmarkFinder, crop: Image) -> Landmarks | None:
    """Landmarks of a crop, in its pixels."""
    side = crop.shape[1]
    margin = side // 2
    # The finder wants the face with its surroundings, in which a crop's hair line and chin lie.
    face = Box(margin, margin - 0.1 * side, margin + side, margin + side)
    padded = np.pad(crop, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    found = finder.find(padded, face)
    return None if found is None else replace(found, points=found.points - np.float32(margin))
