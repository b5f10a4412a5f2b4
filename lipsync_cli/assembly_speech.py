"""Sounds as the user names them -> what generators hear of them, and where they pause."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lipsync_cli.assembly_networks import note_of
from lipsync_cli.errors import MediaError, WeightsError

if TYPE_CHECKING:
    from torch import nn

    from lipsync_cli.dubbing.job import NetworkUsed
    from lipsync_cli.interfaces import Speech, Waveform
    from lipsync_cli.nameless_file import NamelessFile
    from lipsync_cli.speech.pauses import Spans

_LOG = logging.getLogger(__name__)
_ROLES = ("speech_embedding", "voice_detector")


def hearing_networks() -> list[NetworkUsed]:
    """The files of all networks that hear, whether a dub needs them or not. Raises WeightsError."""
    return [note_of(role, *_find(role)) for role in _ROLES]


def load_speech(path: Path) -> Waveform:
    """16 kHz; MediaError when there is no sound in it."""
    from lipsync_cli.media.audio import load_waveform

    waveform = load_waveform(path)
    if waveform.duration == 0:
        raise MediaError(f"{path}: its sound is empty; give a file with speech in it")
    return waveform


@dataclass(frozen=True)
class Heard:
    """What a dub needs of its sounds, of each of them."""

    speeches: tuple[Speech, ...]
    pauses: tuple[Spans, ...]
    """Seconds."""
    used: tuple[NetworkUsed, ...]
    """The files of the networks that heard them."""
    voiceless: tuple[Path, ...]
    """Sounds in which nobody speaks."""

    def warn(self) -> None:
        """Tell of what is odd with the sounds; not before a dub is going to use them."""
        for sound in self.voiceless:
            _LOG.warning(
                "%s: no voice is heard in it, so the lips stay closed; --pauses loudness moves them with it",
                sound,
            )


def hear(
    hears: str,
    waveforms: Sequence[Waveform],
    sounds: Sequence[Path],
    by: Literal["voice", "loudness"],
    file: NamelessFile,
) -> Heard:
    """Listen to 16 kHz waveforms, on as few cores as networks have in a dub.

    Args:
        hears: what the generator hears (`FaceGenerator.hears`).
        waveforms: of the speakers.
        sounds: the files that they come from.
        by: how pauses are told.
        file: where the spectrograms are kept.

    Raises WeightsError or MediaError.
    """
    from lipsync_cli.device import beside_other_work

    used: list[NetworkUsed] = []
    with beside_other_work():
        speeches = _make_speeches(hears, waveforms, used, file)
        pauses, voiceless = _find_pauses(waveforms, sounds, by, used)
    return Heard(speeches, pauses, tuple(used), voiceless)


def _make_speeches(
    hears: str, waveforms: Sequence[Waveform], used: list[NetworkUsed], file: NamelessFile
) -> tuple[Speech, ...]:
    """What a generator hears; `used` is told of the speech network's file, if any."""
    from lipsync_cli.speech.embedding_mel import embedding_mel
    from lipsync_cli.speech.mel import mel_spectrogram
    from lipsync_cli.speech.windows import MelWindows, MelWindowsFromFrame, SpeechEmbeddingWindows

    if hears == "mel":
        return tuple(MelWindows(mel_spectrogram(waveform), file) for waveform in waveforms)
    if hears == "mel_from_frame":
        return tuple(MelWindowsFromFrame(mel_spectrogram(waveform), file) for waveform in waveforms)
    if hears not in ("speech_embedding", "speech_embedding_wide"):
        raise WeightsError(f"this generator hears '{hears}', which this version of lipsync_cli cannot make")
    from lipsync_cli.models.lip_predictor import FURTHER_STEPS
    from lipsync_cli.models.speech_embedding import N_BINS, SpeechEmbedding
    from lipsync_cli.speech.voices import heard_as

    network = SpeechEmbedding()
    _fill(network, "speech_embedding", used)
    steps = heard_as(network.steps, N_BINS)
    further = FURTHER_STEPS if hears == "speech_embedding_wide" else 0
    return tuple(
        SpeechEmbeddingWindows(embedding_mel(waveform), steps, further, file) for waveform in waveforms
    )


def _find_pauses(
    waveforms: Sequence[Waveform],
    sounds: Sequence[Path],
    by: Literal["voice", "loudness"],
    used: list[NetworkUsed],
) -> tuple[tuple[Spans, ...], tuple[Path, ...]]:
    """Where each of these waveforms pauses, and in which sounds nobody speaks, where that is asked.

    `used` is told of the voice detector's file, where that is asked.
    """
    from lipsync_cli.speech.pauses import is_whole, pauses

    if by == "loudness":
        return tuple(pauses(waveform) for waveform in waveforms), ()
    from lipsync_cli.models.voice_detector import VoiceDetector
    from lipsync_cli.speech.voice_activity import voiceless

    network = VoiceDetector()
    _fill(network, "voice_detector", used)
    found, without_voice = [], []
    for waveform, sound in zip(waveforms, sounds, strict=True):
        silent = voiceless(waveform, network)
        if is_whole(silent, waveform):
            without_voice.append(sound)
        found.append(pauses(waveform, silent))
    return tuple(found), tuple(without_voice)


def _fill(network: nn.Module, role: str, used: list[NetworkUsed]) -> None:
    """Load the shipped weights of a role, for use alone; `used` is told of their file."""
    from lipsync_cli.registry.checkpoint import load_into

    name, path = _find(role)
    load_into(network.eval(), path)
    used.append(note_of(role, name, path))


def _find(role: str) -> tuple[str, Path]:
    """Name and checked file of a shipped network."""
    from lipsync_cli.registry.store import find_weights, load_registry

    name = load_registry().name_for(role)
    return name, find_weights(name)
