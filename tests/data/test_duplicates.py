from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from lipsync_cli.data.duplicates import Content, duplicates, fingerprints, same_sound
from lipsync_cli.interfaces import Waveform
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.speech.mel import mel_spectrogram, silent_mel


@pytest.fixture(scope="module")
def speech(weights_folder) -> Waveform:
    return load_waveform(weights_folder / "demo" / "speech.m4a", 16000)


def piece(speech: Waveform, start: float, seconds: float = 2.0) -> Waveform:
    first = round(start * 16000)
    return replace(speech, samples=speech.samples[first : first + round(seconds * 16000)])


def encoded(waveform: Waveform, path: Path, codec: str, bit_rate: int) -> Waveform:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(waveform.samples[None], "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return load_waveform(path, 16000)


def contents(mels) -> list[Content]:
    return [Content(mel.tobytes(), fingerprints(mel)) for mel in mels]


def test_one_recording_is_found_however_it_was_encoded(speech, tmp_path):
    sound = piece(speech, 0.3)
    later = replace(sound, samples=0.3 * sound.samples[640:])  # quieter, cut a frame later
    mels = [
        mel_spectrogram(one)
        for one in (
            piece(speech, 1.5),
            sound,
            encoded(sound, tmp_path / "a.m4a", "aac", 32000),
            later,
            piece(speech, 0.9),
        )
    ]
    copies, same = duplicates(contents(mels), mels.__getitem__)
    assert copies == []
    assert same == [[1, 2, 3]]


def test_copies_are_told_from_sounds_that_are_alike(speech):
    mels = [mel_spectrogram(piece(speech, start)) for start in (0.0, 1.2, 0.0, 0.0)]
    mels.append(mel_spectrogram(replace(piece(speech, 1.2), samples=0.5 * piece(speech, 1.2).samples)))
    assert duplicates(contents(mels), mels.__getitem__) == ([[0, 2, 3]], [[1, 4]])


def test_silence_resembles_nothing(speech):
    silence = silent_mel(160)
    assert fingerprints(silence) == ()
    assert len(fingerprints(mel_spectrogram(piece(speech, 0.0)))) == 2
    marks = [Content(bytes([i]), fingerprints(silence)) for i in range(3)]
    assert duplicates(marks, lambda _: silence) == ([], [])


def test_no_clips_have_no_duplicates():
    assert duplicates([], lambda _: silent_mel(160)) == ([], [])


def test_sounds_of_other_lengths_are_not_the_same(speech):
    whole = mel_spectrogram(piece(speech, 0.0, 2.4))
    assert same_sound(whole, mel_spectrogram(piece(speech, 0.0, 1.6))) == -1
    assert same_sound(whole, whole) == pytest.approx(1, abs=1e-5)
    assert same_sound(whole, mel_spectrogram(piece(speech, 0.5, 2.4))) < 0.8
    assert same_sound(whole[:, :40], whole[:, :40]) == -1


def test_fingerprints_of_many_clips_are_compared_without_mistake():
    """Against comparing every pair: which are found, and none but those."""
    rng = np.random.default_rng(0)
    shapes = rng.normal(0, 1, (60, 16, 32))
    mels = [np.kron(shape, np.ones((5, 5))).astype(np.float32) for shape in shapes]
    mels += [mel + rng.normal(0, 0.05, mel.shape).astype(np.float32) for mel in mels[:7]]
    copies, same = duplicates(contents(mels), mels.__getitem__)
    assert copies == []
    assert same == [[i, 60 + i] for i in range(7)]
