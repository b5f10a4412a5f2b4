"""What a training of the default generator begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.lip_predictor import LipPredictor
from lipsync_cli.models.lip_reader import LipReader
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.models.warping_generator import WarpingFaceGenerator, WarpingGeneratorSettings
from lipsync_cli.registry.checkpoint import fill, load_network
from lipsync_cli.registry.store import find_weights

_PREDICTOR = ("speech_encoder.predictor.", "speech_encoder.predicted.")
"""Beginnings of the names of what a generator without a predictor does not have."""


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Networks that a training of the generator needs and does not change."""

    reader: LipReader
    embedding: SpeechEmbedding
    sync_network: AVSyncNet | None = None
    """For `coefficients.sync`."""
    predictor: LipPredictor | None = None
    """The generator takes it over. None: it has that of the network that it starts from, if that has one."""


def first_generator(
    settings: WarpingGeneratorSettings, start_from: str | None, predictor: LipPredictor | None
) -> WarpingFaceGenerator:
    """The generator that a training begins with: fresh, or that of `start_from`, with a predictor or not.

    Raises WeightsError where the network of start_from differs in more than its predictor.
    """
    path = None
    told = None if predictor is None else predictor.settings
    if start_from is not None:
        path = find_weights(start_from)
        before = load_network(path)
        if told is None and isinstance(before, WarpingFaceGenerator):
            told = before.settings.speech.predictor
    generator = WarpingFaceGenerator(replace(settings, speech=replace(settings.speech, predictor=told)))
    if path is not None:
        fresh = {name: of for name, of in generator.state_dict().items() if name.startswith(_PREDICTOR)}
        fill(generator, {**fresh, **before.state_dict()}, path)
    if predictor is not None and generator.speech_encoder.predictor is not None:
        generator.speech_encoder.predictor.load_state_dict(predictor.state_dict())
    return generator
