from __future__ import annotations

import logging
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
