"""Write the sha256 and size of every file in weights/ into registry.toml; its other lines stay as they are.

    python weights/scripts/update_registry.py           # write
    python weights/scripts/update_registry.py --check   # only tell; exit code 1 if something differs

A file without an entry, or an entry without its file, is told of and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
WEIGHTS = (".safetensors", ".tflite")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only tell what differs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of registry.toml and the weights")
    arguments = parser.parse_args()
    registry = arguments.folder / "registry.toml"
    text = registry.read_text(encoding="utf-8")
    updated, problems = update(text, arguments.folder)
    if updated != text and arguments.check:
        problems.append(f"{registry}: sha256 or bytes are out of date")
    elif updated != text:
        part = registry.with_name(registry.name + ".part")
        part.write_text(updated, encoding="utf-8")
        part.replace(registry)
        print(f"updated {registry}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def update(text: str, folder: Path) -> tuple[str, list[str]]:
    """The registry's text with fresh facts, and one line for each file or entry without the other."""
    problems = []
    entries = tomllib.loads(text).get("weights", {})
    for name, entry in entries.items():
        path = folder / entry["file"]
        if path.is_file():
            text = _with_facts(text, name, path.read_bytes())
        elif entry.get("shipped", True):
            problems.append(f"{path} is missing, but [weights.{name}] names it")
    named = {entry["file"] for entry in entries.values()}
    for path in sorted(folder.iterdir()):
        if path.suffix in WEIGHTS and path.name not in named:
            problems.append(
                f"{path} has no entry: add [weights.{path.stem}] with file, licence, architecture, roles, "
                'sha256 = "", bytes = 0 and run this again'
            )
    return text, problems


def _with_facts(text: str, name: str, content: bytes) -> str:
    header = re.search(rf"^\[weights\.{re.escape(name)}\]$", text, re.MULTILINE)
    if header is None:
        raise SystemExit(
            f"registry.toml: write the header of {name} as [weights.{name}] on a line of its own"
        )
    following = re.search(r"^\[", text[header.end() :], re.MULTILINE)
    end = header.end() + following.start() if following else len(text)
    block = text[header.end() : end]
    digest = hashlib.sha256(content).hexdigest()
    block = re.sub(r'^sha256 = ".*"$', f'sha256 = "{digest}"', block, flags=re.MULTILINE)
    block = re.sub(r"^bytes = \d+$", f"bytes = {len(content)}", block, flags=re.MULTILINE)
    return text[: header.end()] + block + text[end:]


if __name__ == "__main__":
    sys.exit(main())
