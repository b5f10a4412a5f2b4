"""Public weights into the user's cache folder: downloaded, or imported from a file that the user has."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import store
from lipsync_cli.registry.download import DownloadProgress, Patience, download
from lipsync_cli.registry.entries import Registry, WeightsEntry
from lipsync_cli.registry.trust import TrustedFile, remember

if TYPE_CHECKING:
    from lipsync_cli.registry.public import PublicWeights

OFFLINE_VARIABLE = "LIPSYNC_OFFLINE"
_PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a pull or an import."""

    name: str
    entry: WeightsEntry
    path: Path
    sha256: str
    was_there: bool = False
    """True: nothing had to be done."""


def pull(
    name: str,
    *,
    trust: bool = False,
    offline: bool = False,
    progress: DownloadProgress | None = None,
    patience: Patience = _PATIENCE,
) -> Fetched:
    """Download the weights of a name of the registry into the cache folder, unless they are there already.

    The file appears under its name only when its sha256 is right (or, where none is publicly known, when
    `trust` says so) and its content is of the right network. Raises WeightsError otherwise; what came so far
    stays as `.part` to go on from, but is removed where it is the wrong file.
    """
    entry = store.load_registry().entry(name)
    if store.locate(name) is not None:
        path = store.find_weights(name)
        return Fetched(name, entry, path, store.sha256_of(path), was_there=True)
    if entry.url is None:
        where = f" from {entry.page}" if entry.page else ""
        raise WeightsError(
            f"weights '{name}' have no address that a program could fetch: get {entry.file}{where} and run "
            f"`lipsync weights import {entry.file} --name {name}`"
        )
    if offline or os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0"):
        raise WeightsError(
            f"weights '{name}' are not here and lipsync is offline: fetch {entry.url} elsewhere and run "
            f"`lipsync weights import {entry.file} --name {name}`"
        )
    target = store.cache_folder() / entry.file
    part = target.with_name(target.name + ".part")
    largest = {} if entry.bytes is None else {"largest": entry.bytes}
    found = download(entry.url, part, progress=progress, patience=patience, **largest)
    _check_download(name, entry, part, found, trust)
    try:
        _check_network(entry, part)
        part.replace(target)
    except WeightsError:
        part.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error.strerror}") from error
    if entry.sha256 is None:
        remember(target.parent, name, TrustedFile(entry.file, found, entry.url))
    return Fetched(name, entry, target, found)


def import_file(path: Path, *, name: str | None = None, trust: bool = False) -> Fetched:
    """Convert a public file that the user has to safetensors in the cache folder, without running code.

    ONNX networks, which others run, are copied as they are.

    name: which weights of the registry it is; found by its sha256 or its network where that is enough. Raises
    WeightsError when the file is damaged, holds code, is of another network, or has not the sha256 that is
    publicly known (or none is) and `trust` is not set. Nothing is left half-written.
    """
    from lipsync_cli.registry.public import read_public

    registry = store.load_registry()
    if name is not None and _is_onnx(registry.entry(name)):
        return _import_onnx(path, name, registry.entry(name), trust)
    found = store.sha256_of(path)
    onnx = next((key for key, entry in registry.entries.items() if _is_onnx(entry, found)), None)
    if onnx is not None:
        return _import_onnx(path, onnx, registry.entry(onnx), trust)
    weights = read_public(path)
    name = name or _guess(registry, weights, path, found)
    entry = registry.entry(name)
    if entry.architecture != weights.architecture:
        raise WeightsError(
            f"{path}: these are weights of '{weights.architecture}', but '{name}' is a '{entry.architecture}'"
        )
    weights.network()  # every name and shape fits
    if not trust and entry.sha256 != found:
        _refuse(f"{path}: ", entry, found, "the same command with --trust takes it all the same")
    target = store.cache_folder() / f"{name}.safetensors"
    _save(weights, entry, found, target)
    store.forget_digests()
    remember(target.parent, name, TrustedFile(target.name, store.sha256_of(target), str(path.absolute())))
    return Fetched(name, entry, target, found)


def _is_onnx(entry: WeightsEntry, sha256: str | None = None) -> bool:
    """Whether an entry is of an ONNX network (and has this sha256)."""
    return entry.file.endswith(".onnx") and sha256 in (None, entry.sha256)


def _import_onnx(path: Path, name: str, entry: WeightsEntry, trust: bool) -> Fetched:
    found = store.sha256_of(path)
    if not trust and entry.sha256 != found:
        _refuse(f"{path}: ", entry, found, "the same command with --trust takes it all the same")
    target = store.cache_folder() / entry.file
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, part)
        part.replace(target)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    store.forget_digests()
    remember(target.parent, name, TrustedFile(target.name, found, str(path.absolute())))
    return Fetched(name, entry, target, found)


def _check_download(name: str, entry: WeightsEntry, part: Path, found: str, trust: bool) -> None:
    """WeightsError unless the file is the registered one, or cannot be told and is trusted."""
    size = part.stat().st_size
    wrong = entry.sha256 not in (None, found) or not found.startswith(entry.sha256_begins or "")
    if wrong:
        part.unlink()
        expected = entry.sha256 or f"{entry.sha256_begins}..."
        raise WeightsError(
            f"{entry.url}: not the registered file: expected sha256 {expected}, got {found} ({size} bytes); "
            "it was removed: try again later, or get the file from elsewhere and import it"
        )
    if entry.sha256 is None and not trust:
        _refuse(
            f"weights '{name}' from {entry.url}: {size} bytes, ",
            entry,
            found,
            f"run `lipsync weights pull {name} --trust` (nothing is fetched twice)",
        )


def _refuse(what: str, entry: WeightsEntry, found: str, remedy: str) -> None:
    registered = entry.sha256 or entry.sha256_begins
    if registered is not None and not found.startswith(registered):
        raise WeightsError(
            f"{what}sha256 {found}, but {registered} is registered: damaged or another version; {remedy}"
        )
    raise WeightsError(
        f"{what}sha256 {found}; the right one is not publicly known: if you trust this file, {remedy}"
    )


def _check_network(entry: WeightsEntry, part: Path) -> None:
    """WeightsError unless the file can be read safely and is of the registered network."""
    from lipsync_cli.registry.public import PUBLIC, read_public

    if entry.architecture in PUBLIC:
        read_public(part, entry.architecture)


def _guess(registry: Registry, weights: PublicWeights, path: Path, found: str) -> str:
    """The name of the registry that a file is of, when that is certain; else WeightsError."""
    fitting = {
        name: entry for name, entry in registry.entries.items() if entry.architecture == weights.architecture
    }
    by_content = [name for name, entry in fitting.items() if entry.sha256 == found]
    by_name = [name for name, entry in fitting.items() if entry.file == path.name]
    for certain in (by_content, by_name, list(fitting)):
        if len(certain) == 1:
            return certain[0]
    raise WeightsError(
        f"{path}: weights of '{weights.architecture}'; say which with --name: {', '.join(fitting) or 'none'}"
    )


def _save(weights: PublicWeights, entry: WeightsEntry, sha256: str, target: Path) -> None:
    from safetensors.torch import save

    metadata = {
        "architecture": weights.architecture,
        "source": weights.path.name,
        "source_sha256": sha256,
        "licence": entry.licence,
        "page": entry.page or entry.url or "",
    }
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in weights.tensors.items()}
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(save(tensors, metadata))
        part.replace(target)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
