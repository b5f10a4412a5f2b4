from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The command line configures it; this puts it back."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def ffmpeg_program() -> None:
    """The system's ffmpeg, without which a test is skipped."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")


@pytest.fixture(params=["pyav", "ffmpeg"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each media backend in turn."""
    name: str = request.param
    if name == "ffmpeg":
        request.getfixturevalue("ffmpeg_program")
    return name


@pytest.fixture(scope="session")
def as_anyone() -> list[str]:
    """What runs a program without root's power to read and write everything."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read and write everything here")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
