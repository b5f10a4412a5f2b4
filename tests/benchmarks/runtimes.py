"""The default generator in torch, ONNX Runtime and OpenVINO: CPU milliseconds a frame, in one run.

    pip install onnx onnxruntime openvino
    python tests/benchmarks/runtimes.py [--threads 1] [--batch 25]

What is run is the network without the enlargement of its answer (`WarpingFaceGenerator.motion`), at its own
size. A runtime would have to be 1.3 times as fast as torch to be worth another dependency.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from torch import Tensor, nn

from lipsync_cli.device import Execution
from lipsync_cli.models.fused import fold_norms, store_weights_as
from lipsync_cli.models.warping_generator import WarpingFaceGenerator
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.registry.store import weights_folder


class Looking(nn.Module):
    """The part of the generator that is a network."""

    def __init__(self, generator: WarpingFaceGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, speech: Tensor, references: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        motion = self.generator.motion(speech, references, pose)
        return motion.flows, motion.mask_logits, motion.paint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=25)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    network = load_network(weights_folder() / "talking_face.safetensors").eval()
    assert isinstance(network, WarpingFaceGenerator)
    side, batch = network.image_size, given.batch
    inputs = (
        torch.randn(batch, 10, 384),
        torch.rand(batch, 2, 3, side, side),
        torch.rand(batch, 3, side, side),
    )
    inputs[2][:, :, side // 2 :] = 0
    with torch.inference_mode():
        expected = Looking(network)(*inputs)[0].numpy()
    print("| runtime | CPU ms a frame | largest difference of a flow |\n|---|---|---|")
    for name, run in runtimes(network, inputs, given.threads):
        difference = float(np.abs(run() - expected).max())
        print(f"| {name} | {cpu_seconds(run) * 1000 / batch:.2f} | {difference:.1e} |", flush=True)


def runtimes(
    network: WarpingFaceGenerator, inputs: tuple[Tensor, ...], threads: int
) -> list[tuple[str, Callable[[], np.ndarray]]]:
    """Name, and what computes the flows."""
    arrays = [tensor.numpy() for tensor in inputs]
    found: list[tuple[str, Callable[[], np.ndarray]]] = []
    for dtype in (torch.bfloat16, torch.float32):
        found.append((f"torch, {str(dtype).removeprefix('torch.')}", in_torch(network, inputs, dtype)))
    model = openvino.convert_model(Looking(network), example_input=inputs)
    for precision in ("bf16", "f32"):
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(model, "CPU", settings)
        found.append((f"OpenVINO, {precision}", partial(in_openvino, compiled, arrays)))
    with tempfile.TemporaryDirectory() as folder:
        file, names = str(Path(folder) / "generator.onnx"), ["speech", "references", "pose"]
        torch.onnx.export(Looking(network), inputs, file, dynamo=False, input_names=names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = dict(zip(names, arrays, strict=True))
    found.append(("ONNX Runtime, float32", lambda: session.run(None, feed)[0]))
    return found


def in_openvino(compiled: openvino.CompiledModel, arrays: list[np.ndarray]) -> np.ndarray:
    return np.asarray(compiled(arrays)[0])


def in_torch(
    network: WarpingFaceGenerator, inputs: tuple[Tensor, ...], dtype: torch.dtype
) -> Callable[[], np.ndarray]:
    """As a dub runs it."""
    execution = Execution(torch.device("cpu"), dtype)
    folded = fold_norms(copy.deepcopy(network))
    store_weights_as(folded, dtype)
    looking = execution.place(Looking(folded))

    def run() -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            flows: np.ndarray = looking(*inputs)[0].float().numpy()
            return flows

    return run


def cpu_seconds(work: Callable[[], object], repeat: int = 8) -> float:
    """Of all threads, the fastest run."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


if __name__ == "__main__":
    main()
