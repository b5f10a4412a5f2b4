"""Restoration measured: flicker with and without steadying, `--restore light`, milliseconds of the networks.

    python tests/benchmarks/restoration.py VIDEO [--frames 50] [--network 8] [--speed]

VIDEO is dubbed with its own speech; its generated and filmed faces are what is measured, in the lower half.
Restorers: `grain` lays new grain over the face in every frame, as blind restorers do to skin; `pulse`
sharpens by another amount in every frame; `gpen` is the network with the golden weights (tests/models),
asked for --network frames only. IFC and flicker ratio: lipsync_cli/metrics/temporal.py. --speed times one
face with each network, float32 and bfloat16, on all cores: leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
from conftest import GoldenRule as Rule

from lipsync_cli import assembly
from lipsync_cli.assembly_networks import make_execution
from lipsync_cli.dubbing import restoration
from lipsync_cli.dubbing.job import DubJob, DubSettings
from lipsync_cli.dubbing.stages import DubFrame
from lipsync_cli.faces.detail import SteadyDetail, borrow_detail
from lipsync_cli.interfaces import Image
from lipsync_cli.metrics.image import psnr, sharpness
from lipsync_cli.metrics.temporal import FlickerRatio, InterFrameConsistency
from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.models.restorers.restorer import NetworkRestorer
from lipsync_cli.models.restorers.vqfr_v1 import VQFRv1
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2
from lipsync_cli.regions import to_image, to_network

Pairs = list[tuple[Image, Image]]
"""Generated and filmed face of each frame."""


def faces_of(video: Path, most: int) -> Pairs:
    pairs: Pairs = []

    def look(frames: Iterator[DubFrame], strength: float = 1.0) -> Iterator[DubFrame]:
        for item in frames:
            if item.face is not None and item.crop is not None and len(pairs) < most:
                pairs.append((item.face, item.crop))
            yield item

    restoration.borrow, before = look, restoration.borrow
    try:
        with tempfile.TemporaryDirectory() as folder:
            job = DubJob(video, video, Path(folder) / "out.mp4", DubSettings(restore="light"))
            assembly.dub(job)
    finally:
        restoration.borrow = before
    return pairs


def grain(face: Image, filmed: Image, index: int) -> Image:
    noise = np.random.default_rng(index).normal(0, 14, face.shape[:2]).astype(np.float32)
    return as_image(face + 1.5 * cv2.GaussianBlur(noise, (0, 0), 1.0)[..., None])


def pulse(face: Image, filmed: Image, index: int) -> Image:
    amount = np.random.default_rng(index).uniform(0, 1.5)
    return as_image(face + amount * (face - cv2.GaussianBlur(face, (0, 0), 2).astype(np.float32)))


def light(face: Image, filmed: Image, index: int) -> Image:
    return borrow_detail(face, filmed)


def as_image(values: np.ndarray) -> Image:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def golden_gpen() -> Callable[[Image, Image, int], Image]:
    restorer = NetworkRestorer(Rule.fill(GPEN(), 0.5), make_execution("cpu", "fp32"))

    def restore(face: Image, filmed: Image, index: int) -> Image:
        answer = to_image(restorer(to_network(np.asarray(cv2.resize(face, (512, 512)), np.uint8)[None])))[0]
        return np.asarray(cv2.resize(answer, face.shape[:2], interpolation=cv2.INTER_AREA), np.uint8)

    return restore


def measure(pairs: Pairs, restored: list[Image], memory: float) -> str:
    steady, ifc, flicker = SteadyDetail(memory), InterFrameConsistency(), FlickerRatio()
    size = pairs[0][0].shape[0]
    lower = np.s_[size // 2 : size * 19 // 20, size // 6 : size * 5 // 6]
    sharp, near = [], []
    for (face, filmed), answer in zip(pairs, restored, strict=True):
        shown, real = steady.blend(face, answer)[lower], filmed[lower]
        ifc.update(shown, real)
        flicker.update(shown, real)
        sharp.append(sharpness(shown) / sharpness(real))
        near.append(psnr(shown, real))
    return (
        f"IFC {ifc.compute():6.3f}  flicker ratio {flicker.compute():6.3f}  "
        f"sharpness {np.mean(sharp):5.3f}  PSNR {np.mean(near):5.2f} dB"
    )


def flicker(pairs: Pairs, n_network: int) -> None:
    print(f"{'generated':10} {'':11} {measure(pairs, [face for face, _ in pairs], 0)}")
    for name, restorer, part in (
        ("light", light, pairs),
        ("grain", grain, pairs),
        ("pulse", pulse, pairs),
        ("gpen", golden_gpen(), pairs[:n_network]),
    ):
        if not part:
            continue
        begun = time.perf_counter()
        restored = [restorer(face, filmed, i) for i, (face, filmed) in enumerate(part)]
        ms = (time.perf_counter() - begun) / len(part) * 1e3
        for memory in (0.0,) if name == "light" else (0.0, 0.5, 0.7, 0.85):
            print(f"{name:10} memory {memory:4.2f} {measure(part, restored, memory)}")
        print(f"{'':10} {ms:.0f} ms a face of {part[0][0].shape[0]} pixels", flush=True)


def speed() -> None:
    face = torch.rand(1, 3, 512, 512)
    for build in (GFPGAN, GPEN, VQFRv1, VQFRv2):
        for precision in ("fp32", "bf16"):
            restorer = NetworkRestorer(Rule.fill(build(), 0.5), make_execution("cpu", precision))
            begun = time.perf_counter()
            restorer(face)
            print(f"{build.__name__:8} {precision} {time.perf_counter() - begun:6.2f} s a face", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--network", type=int, default=8)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.video is not None:
        flicker(faces_of(options.video, options.frames), options.network)
    if options.speed:
        speed()


if __name__ == "__main__":
    main()
