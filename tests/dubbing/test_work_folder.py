from __future__ import annotations

import logging
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.dubbing.work_folder import WorkFolder, identity
from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Frame
from lipsync_cli.media.chunks import Chunk
from lipsync_cli.media.writer import VideoWriter

N = 4
JOB = {"video": {"bytes": 3}, "--crf": 18.0, "--longer": "loop"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.mp4"


@pytest.fixture
def work(output: Path) -> Callable[..., WorkFolder]:
    def make(resume: bool | None = False, **changed: object) -> WorkFolder:
        return WorkFolder(output, JOB | changed, n_frames=N, resume=resume)

    return make


def finish_a_piece(folder: Path, first: int = 0) -> None:
    image = np.full((16, 16, 3), 90, np.uint8)
    path = Chunk.at(folder, first, first * 3600).path
    with VideoWriter(path, width=16, height=16, rate=Fraction(25), speech=None) as sink:
        for i in range(N):
            sink.write(Frame(i, i / 25, image))


def stop(work: WorkFolder, pieces: int = 1) -> None:
    with pytest.raises(KeyboardInterrupt), work:  # noqa: PT012
        for i in range(work.n_kept // N, pieces):
            finish_a_piece(work.path, i * N)
        raise KeyboardInterrupt


def test_a_clean_end_leaves_nothing(work: Callable[..., WorkFolder], tmp_path: Path) -> None:
    with work() as folder:
        finish_a_piece(folder.path)
        assert folder.path.parent == tmp_path
        assert folder.path.name == ".out.mp4.dub"
    assert list(tmp_path.iterdir()) == []


def test_a_stop_before_the_first_piece_leaves_nothing(
    work: Callable[..., WorkFolder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop(work(), pieces=0)
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []


def test_a_stop_with_finished_pieces_keeps_them_and_tells_how_to_go_on(
    work: Callable[..., WorkFolder], output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop(work(), pieces=2)
    assert caplog.messages == [
        f"{output}: {2 * N} frames are done and kept; the same command with --resume goes on from there"
    ]
    with work(resume=True) as folder:
        assert folder.n_kept == 2 * N


def test_the_same_dub_without_resume_does_not_throw_away_what_is_done(
    work: Callable[..., WorkFolder],
) -> None:
    stop(work())
    with pytest.raises(SettingsError, match=r"4 frames of this very dub.*--resume"), work():
        pass
    assert work().n_kept == N


def test_another_dub_discards_the_pieces_and_says_in_what_it_differs(
    work: Callable[..., WorkFolder], caplog: pytest.LogCaptureFixture
) -> None:
    stop(work())
    caplog.clear()
    with work(**{"--crf": 20.0}) as folder:
        assert folder.n_kept == 0
    assert len(caplog.messages) == 1
    assert "with other --crf are discarded" in caplog.messages[0]


def test_another_dub_is_not_gone_on_with(work: Callable[..., WorkFolder]) -> None:
    stop(work())
    with pytest.raises(SettingsError, match="differs in --crf, --longer"):
        work(resume=True, **{"--crf": 20.0, "--longer": "hold"}).__enter__()
    assert work().n_kept == N


def test_where_nobody_asks_work_is_gone_on_with_or_else_begun_anew(work: Callable[..., WorkFolder]) -> None:
    stop(work())
    with work(resume=None) as folder:
        assert folder.n_kept == N
    stop(work())
    with work(resume=None, **{"--crf": 20.0}) as folder:
        assert folder.n_kept == 0


def test_resume_without_anything_there_simply_begins(work: Callable[..., WorkFolder]) -> None:
    with work(resume=True) as folder:
        assert folder.n_kept == 0


def test_two_at_once_are_refused(work: Callable[..., WorkFolder], output: Path) -> None:
    with work() as folder:
        finish_a_piece(folder.path)
        for resume in (False, True):
            with pytest.raises(MediaError, match="another lipsync is writing it"):
                work(resume=resume).__enter__()
        assert folder.n_kept == N


def test_a_link_and_its_file_are_one_output(work: Callable[..., WorkFolder], output: Path) -> None:
    output.write_bytes(b"an older dub")
    link = output.with_name("link.mp4")
    link.symlink_to(output)
    with work(), pytest.raises(MediaError, match="another lipsync"):
        WorkFolder(link, JOB, n_frames=N, resume=False).__enter__()


def test_the_first_pass_is_kept_and_a_damaged_one_is_done_again(
    work: Callable[..., WorkFolder], caplog: pytest.LogCaptureFixture
) -> None:
    with work() as folder:
        assert folder.load() is None
        folder.save({"boxes": np.arange(4)})
        assert folder.load()["boxes"].tolist() == [0, 1, 2, 3]
        stored = folder.path / "first_pass.npz"
        stored.write_bytes(stored.read_bytes()[:50])
        assert caplog.messages == []
        assert folder.load() is None
        assert "watched again" in caplog.messages[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_named(work: Callable[..., WorkFolder], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MediaError, match="cannot be written"):
            work().__enter__()
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(
    work: Callable[..., WorkFolder], tmp_path: Path
) -> None:
    (tmp_path / ".out.mp4.dub").write_text("a file")
    with pytest.raises(MediaError, match="cannot be written"):
        work().__enter__()


@pytest.mark.parametrize("change", ["content", "end", "time"])
def test_a_file_that_changes_is_another_file(change: str, tmp_path: Path) -> None:
    path = tmp_path / "video"
    path.write_bytes(bytes(5_000_000))
    os.utime(path, (1, 1))
    before = identity(path)
    assert identity(path) == before
    content = bytearray(path.read_bytes())
    if change == "content":
        content[2_500_000] = 1
    elif change == "end":
        content[-1] = 1
    path.write_bytes(content)
    os.utime(path, (1, 2 if change == "time" else 1))
    assert identity(path) != before


def test_nothing_is_logged_while_nothing_is_lost(
    work: Callable[..., WorkFolder], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "lipsync_cli"), work():
        pass
    assert caplog.messages == []
