from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
CI = ROOT / ".ci" / "run"


def commands() -> list[str]:
    """The lines of the README's code blocks that install the package."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("pip install ")]


def test_the_readme_has_one_command_to_run_and_one_to_test() -> None:
    run, test = commands()
    assert run == "pip install . && lipsync demo"
    assert test.split(" && ") == [
        "pip install -e '.[dev]'",
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "pytest",
    ]


@pytest.mark.skipif(not CI.exists(), reason="not a checkout: .ci is not part of the source distribution")
def test_ci_runs_the_test_command_of_the_readme_word_for_word(tmp_path: Path) -> None:
    """With programs that only write down how they were called in the place of the real ones."""
    log = tmp_path / "log"
    programs = tmp_path / "environment" / "bin"
    programs.mkdir(parents=True)
    for name in ("pip", "ruff", "mypy", "pytest"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> "{log}"\n')
        (programs / name).chmod(0o755)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && cat >/dev/null && echo environment || exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "LIPSYNC_CI_VENVS": str(tmp_path)}
    done = subprocess.run([CI], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == [part.replace("'", "") for part in commands()[1].split(" && ")]
