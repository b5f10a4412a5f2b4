"""Every golden array of the public networks with its largest difference, as a table.

    python tests/benchmarks/golden.py [NAME ...]

Weights and inputs are made by the rule of tests/models/conftest.py, outputs are those of the public code.
VQFR takes half a minute a version on two cores, all others seconds. Exit code 1 when one differs by more
than 1e-3 of its standard deviation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
from conftest import GoldenRule as Rule

from lipsync_cli.models.audio_encoder import AudioEncoder, AudioEncoderSettings
from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.models.restorers.vqfr_v1 import VQFRv1
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.wav2lip import Wav2Lip

TOLERANCE = 1e-3
FACE = (1, 3, 512, 512)
Outputs = dict[str, Tensor]


def mel(name: str) -> Tensor:
    return Rule.inputs(f"{name}.mel", (2, 1, 80, 16), -4, 4)


def wav2lip(network: nn.Module) -> Outputs:
    return {"output": network(mel("wav2lip"), Rule.inputs("wav2lip.face", (2, 6, 96, 96), 0, 1))}


def syncnet_color(network: nn.Module) -> Outputs:
    lips = Rule.inputs("syncnet_color.face", (2, 15, 48, 96), 0, 1)
    return dict(zip(("audio", "face"), network(mel("syncnet_color"), lips), strict=True))


def syncnet_v2(network: nn.Module) -> Outputs:
    frames = Rule.inputs("syncnet_v2.frames", (2, 3, 5, 224, 224), 0, 255)
    answers = network(Rule.inputs("syncnet_v2.mfcc", (2, 1, 13, 20), -20, 20), frames)
    return dict(zip(("audio", "lips"), answers, strict=True))


def resnetse34v2(network: nn.Module) -> Outputs:
    return {"output": network(mel("resnetse34"))}


def vqfr(network: nn.Module) -> Outputs:
    restored = network(Rule.inputs("vqfr.face", FACE, -1, 1), fidelity_ratio=0.5)
    return {"output_every_4th": restored[:, :, ::4, ::4]}


def gfpgan(network: nn.Module) -> Outputs:
    return {"output_every_4th": network(Rule.inputs("gfpgan.face", FACE, -1, 1))[:, :, ::4, ::4]}


def gpen(network: nn.Module) -> Outputs:
    return {"output_every_4th": network(Rule.inputs("gpen.face", FACE, -1, 1))[:, :, ::4, ::4]}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], float, Callable[[nn.Module], Outputs]]] = {
    "wav2lip": (Wav2Lip, 0.5, wav2lip),
    "syncnet_color": (SyncNetColor, 1.0, syncnet_color),
    "syncnet_v2": (SyncNetV2, 1.0, syncnet_v2),
    "resnetse34v2": (lambda: AudioEncoder(AudioEncoderSettings()), 1.0, resnetse34v2),
    "gfpgan": (GFPGAN, 0.5, gfpgan),
    "gpen": (GPEN, 0.5, gpen),
    "vqfr_v1": (VQFRv1, 1.0, vqfr),
    "vqfr_v2": (VQFRv2, 1.0, vqfr),
}
"""Name -> network, gain of the rule, and how it is asked."""


def main(names: list[str]) -> int:
    print(f"{'network':14} {'array':17} {'shape':18} {'max |diff|':>11} {'/ std':>9}  names       s")
    worst = 0.0
    for name in names or NETWORKS:
        build, gain, ask = NETWORKS[name]
        network = Rule.fill(build(), gain)
        same = "same" if Rule.own_keys(network) == Rule.public_keys(name) else "DIFFERENT"
        begun = time.perf_counter()
        with torch.inference_mode():
            outputs = ask(network)
        seconds = time.perf_counter() - begun
        for array, golden in Rule.outputs(name).items():
            share = Rule.difference(outputs[array], golden)
            largest = float(np.abs(outputs[array].numpy() - golden).max())
            shape = "x".join(map(str, golden.shape))
            print(f"{name:14} {array:17} {shape:18} {largest:11.2e} {share:9.2e}  {same:9} {seconds:4.1f}")
            worst = max(worst, share if same == "same" else np.inf)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
