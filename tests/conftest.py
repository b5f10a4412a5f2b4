from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The developers' folder of real video and golden arrays, beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: this test needs the developers' folder of real video")
    return folder


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    return ROOT / "weights"
