"""Once: what the original files answer, kept for the tests.

    pip download --no-deps pyopen-wakeword==1.1.0 && unzip pyopen_wakeword-1.1.0-*.whl
    pip install ai-edge-litert                       # an interpreter
    python weights/scripts/golden_speech_embedding.py pyopen_wakeword/models tests

Writes tests/speech/golden/embedding_mel.npz and tests/models/golden/speech_embedding.npz, inputs and answers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

STEPS = 91  # the tensor before the fourth pool


def main(models: Path, tests: Path) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(3200) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * (200 + 6000 * time) * time) + 0.05 * rng.standard_normal(3200)
    sound[2000:2700] = 0  # so that some columns lie at the floor
    samples = np.round(sound * 32_768).astype(np.int16)
    decibels, _ = _answer(models / "melspectrogram.tflite", samples[None].astype(np.float32))
    np.savez_compressed(
        tests / "speech/golden/embedding_mel.npz", samples=samples, log_mel=decibels[0, 0] / 10 + 2
    )

    tenths = rng.integers(46, 126, (76, 32), dtype=np.uint8)  # log mel of speech lies between 4.6 and 12.6
    log_mel = np.divide(tenths[None, ..., None], 10, dtype=np.float32)
    embedding, steps = _answer(models / "embedding_model.tflite", log_mel, STEPS)
    np.savez_compressed(
        tests / "models/golden/speech_embedding.npz",
        tenths=tenths,
        steps=steps[0].transpose(0, 2, 1).reshape(10, 384),  # [time, bins, channels] in the file
        embedding=embedding[0, 0, 0],
    )


def _answer(
    model: Path, tensor: NDArray[np.float32], middle: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the file puts out, and the tensor numbered `middle` (or the output again)."""
    network = Interpreter(str(model), experimental_preserve_all_tensors=True)
    network.resize_tensor_input(0, list(tensor.shape))
    network.allocate_tensors()
    network.set_tensor(0, tensor)
    network.invoke()
    output = network.get_output_details()[0]["index"]
    return network.get_tensor(output).copy(), network.get_tensor(middle or output).copy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
