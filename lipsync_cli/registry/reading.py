"""What a file of weights holds, as tables of named tensors, read without running code.

Takes what torch.save wrote (both of its formats) and safetensors, whatever the file is called.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lipsync_cli.errors import WeightsError

Table = Mapping[str, Tensor]

_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)
"""What torch.load raises for a file that is cut short or is something else: it has no error of its own."""
_TORCH_SAVE = (b"P", b"\x80")
"""A zip archive or a bare pickle: all that torch.save has ever written."""
_WRAPPINGS = ("params_ema", "g_ema", "ema", "state_dict", "model_state_dict", "params", "generator", "model")
"""Where training scripts put the weights beside other things, averaged weights before plain ones."""
_DEEPEST = 3
"""Tables inside tables: no script is known that goes further."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "netG.")
"""What wrappers (DataParallel, torch.compile, Lightning, ...) put before every name."""
_OTHER_KINDS = (
    (re.compile(rb"\s*<", re.IGNORECASE), "a web page: the download was answered by a page, not by the file"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS: run `git lfs pull` where it came from"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!"), "a compressed archive: unpack it first"),
    (re.compile(rb"\x08[\x01-\x20][\x10\x12]"), "an ONNX program: the PyTorch file (.pth) is needed"),
    (re.compile(rb"\x89HDF"), "an HDF5 file (Keras?): the PyTorch file (.pth) is needed"),
)
"""How files begin that people have in place of weights."""


def read_tables(path: Path) -> list[Table]:
    """All tables of named tensors that a file holds, the likeliest to be the weights first; at least one.

    Prefixes that wrappers put before all names are taken off. Raises WeightsError when the file is missing,
    damaged, something else, or holds code.
    """
    tables = [_bare(table) for table in _tables(_content(path), _DEEPEST)]
    if not tables:
        raise WeightsError(f"{path}: not a table of named weights (a state_dict)")
    return tables


def first_bytes(path: Path) -> bytes:
    """Up to 64 bytes. WeightsError unless it is a file that can be read and holds something."""
    try:
        if not path.is_file():
            path.stat()
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise WeightsError(f"{path}: cannot read the weights: this is {kind}")
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from error
    if not start:
        raise WeightsError(f"{path}: not a file of weights: it is empty (0 bytes): fetch it again")
    return start


def is_safetensors(start: bytes) -> bool:
    """By its first bytes: the length of the header, which is JSON."""
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27


def damaged(path: Path, error: Exception) -> WeightsError:
    """The error of a file that begins as weights do but cannot be read to its end."""
    first = str(error).partition("\n")[0].partition(". ")[0]
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first
    return WeightsError(f"{path}: truncated or damaged ({reason or type(error).__name__}): fetch it again")


def _content(path: Path) -> object:
    """What the file holds, as tensors and plain containers; its name does not matter."""
    start = first_bytes(path)
    if is_safetensors(start):
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise damaged(path, error) from error
    if not start.startswith(_TORCH_SAVE):
        what = next((what for pattern, what in _OTHER_KINDS if pattern.match(start)), None)
        if what is None and path.suffix == ".safetensors":
            raise damaged(path, ValueError("no safetensors header"))
        raise WeightsError(
            f"{path}: not a file of weights{f': it is {what}' if what else ''} "
            "(neither torch.save's nor safetensors)"
        )
    _check_archive(path)
    return _unpickled(path)


def _check_archive(path: Path) -> None:
    """WeightsError when a zip archive is not of torch.save, or one of its parts has changed.

    torch.load compares no checksums: it would take a file with flipped bits.
    """
    if not zipfile.is_zipfile(path):
        return  # a bare pickle, or cut short: torch.load tells
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                raise WeightsError(
                    f"{path}: a TorchScript program, not plain weights: save its state_dict() with torch.save"
                )
            if not any(name.endswith("data.pkl") for name in names):
                raise WeightsError(f"{path}: a zip archive, but not one of torch.save: unpack it first")
            wrong = archive.testzip()
    except (zipfile.BadZipFile, *_DAMAGED) as error:
        raise damaged(path, error) from error
    if wrong is not None:
        raise damaged(path, ValueError(f"the checksum of its part {wrong} is wrong"))


def _unpickled(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # torch warns of other pickle protocols; if they do not load, the error below says so.
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is not None:
            raise WeightsError(
                f"{path}: holds code ({code[1]}) besides weights and was not loaded, to be safe: "
                "save its state_dict() alone with torch.save"
            ) from error
        if "Unsupported operand" in str(error):
            raise WeightsError(
                f"{path}: a pickle that torch.save did not write; it may hold code and was not loaded, to be "
                "safe: save the network's state_dict() alone with torch.save"
            ) from error
        raise damaged(path, error) from error
    return content


def _tables(content: object, depth: int) -> Iterator[Table]:
    """The content itself, if it is a table of tensors; else those inside it, likely places first."""
    if not isinstance(content, Mapping) or not content:
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        yield {str(name): tensor for name, tensor in content.items()}
    elif depth:
        rank = {name: place for place, name in enumerate(_WRAPPINGS)}
        for key in sorted(content, key=lambda key: rank.get(str(key), len(rank))):
            yield from _tables(content[key], depth - 1)


def _bare(table: Table) -> Table:
    """Without what wrappers put before all of its names."""
    while prefix := next((each for each in _PREFIXES if all(name.startswith(each) for name in table)), None):
        table = {name.removeprefix(prefix): tensor for name, tensor in table.items()}
    return table
