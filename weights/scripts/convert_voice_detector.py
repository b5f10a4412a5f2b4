"""Once: `silero_vad.jit` -> `weights/voice_detector.safetensors`, and the original's answers, for the tests.

    pip download --no-deps silero-vad==6.2.3 && unzip silero_vad-6.2.3-*.whl
    python weights/scripts/convert_voice_detector.py silero_vad/data/silero_vad.jit

Writes weights/voice_detector.safetensors and tests/models/golden/voice_detector.npz. The metadata of the
first come in any order, so its sha256 differs from run to run: afterwards `weights/registry.toml` has to be
brought up to date (`update_registry.py`).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lipsync_cli.models.voice_detector import SAMPLE_RATE, STEP, VoiceDetector

SHA256 = "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720"
ROOT = Path(__file__).resolve().parents[2]
METADATA = {
    "architecture": "voice_detector",
    "settings": "{}",
    "licence": "MIT",
    "source": "Silero VAD 6, silero_vad.jit of silero-vad 6.2.3",
    "source_sha256": SHA256,
}
NAMES = {
    "stft.forward_basis_buffer": "transform.weight",
    **{
        f"encoder.{i}.reparam_conv.{kind}": f"encoder.{i}.{kind}"
        for i in range(4)
        for kind in ("weight", "bias")
    },
    **{
        f"decoder.rnn.{part}_{gate}": f"memory.{part}_{gate}_l0"
        for part in ("weight", "bias")
        for gate in ("ih", "hh")
    },
    "decoder.decoder.2.weight": "decision.weight",
    "decoder.decoder.2.bias": "decision.bias",
}
"""Of the file's 16 kHz network -> ours."""


def main(source: Path) -> None:
    if hashlib.sha256(source.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{source} is not the file of silero-vad 6.2.3: its sha256 differs")
    original = torch.jit.load(source).eval()  # type: ignore[no-untyped-call]
    theirs = original.state_dict()
    wanted = VoiceDetector().state_dict()
    tensors = {
        ours: theirs[f"_model.{name}"].detach().reshape(wanted[ours].shape).clone()
        for name, ours in NAMES.items()
    }
    if tensors.keys() != wanted.keys():
        raise SystemExit("the layers of the file are not those of VoiceDetector")
    save_file(tensors, ROOT / "weights/voice_detector.safetensors", METADATA)
    samples = _sound()
    np.savez_compressed(
        ROOT / "tests/models/golden/voice_detector.npz", samples=samples, answers=_answers(original, samples)
    )


def _sound() -> np.ndarray:
    """Four seconds, int16: a buzz with moving formants, which is like a voice, between noise and a chord."""
    rng = np.random.default_rng(0)
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    voice = np.zeros_like(time)
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(5 * time)) / SAMPLE_RATE
    first, second = 500 + 250 * np.sin(11 * time), 1500 + 600 * np.sin(7 * time)
    for harmonic in range(1, 30):
        pitch = harmonic * (120 + 30 * np.sin(5 * time))
        near = np.exp(-(((pitch - first) / 120) ** 2)) + 0.6 * np.exp(-(((pitch - second) / 180) ** 2))
        voice += near * np.sin(harmonic * phase)
    voice *= 0.15 * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * time))
    noise = 0.05 * rng.standard_normal(SAMPLE_RATE)
    chord = 0.1 * sum(np.sin(2 * np.pi * pitch * time[:SAMPLE_RATE]) for pitch in (220.0, 277.0, 330.0))
    whole = np.concatenate([noise, voice, chord])
    return np.asarray(np.round(np.clip(whole, -1, 1) * 32_767), np.int16)


def _answers(original: torch.jit.ScriptModule, samples: np.ndarray) -> np.ndarray:
    """Of the original, step by step."""
    original.reset_states()
    steps = torch.split(torch.from_numpy(samples.astype(np.float32) / 32_768), STEP)
    with torch.no_grad():
        answers: list[Tensor] = [original(step, SAMPLE_RATE) for step in steps]
    return np.asarray(torch.cat(answers)[:, 0], np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
