"""The mean of the weights of several checkpoints of one network, which a training began and went on with.

    python weights/scripts/mean_of_generators.py OUT.safetensors FIRST.safetensors SECOND.safetensors ...

Settings are those of the first. Generation 4 of the talking face was made so (weights/README.md).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import cast

import torch

from lipsync_cli.models.warping_generator import WarpingFaceGenerator
from lipsync_cli.registry.checkpoint import load_network, read_header, save_checkpoint
from lipsync_cli.settings import to_mapping


def main(target: Path, sources: list[Path]) -> None:
    networks = [load_network(path) for path in sources]
    means = {}
    for name, tensor in networks[0].state_dict().items():
        others = torch.stack([network.state_dict()[name].double() for network in networks])
        means[name] = others.mean(dim=0).to(tensor.dtype)
    networks[0].load_state_dict(means)
    header = read_header(sources[0])
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    settings = to_mapping(cast(WarpingFaceGenerator, networks[0]).settings)
    extra = {"mean_of_sha256": files}
    save_checkpoint(
        target, networks[0], architecture=header.architecture, settings=settings, extra=extra, half=True
    )
    print(f"wrote {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
