"""Downloads from a real HTTP server on the loopback interface that misbehaves in every way we know."""

from __future__ import annotations

import os
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry.download import _SafeRedirects, download

CONTENT = os.urandom(700_000)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.pth.part"


def left_beside(part: Path) -> list[str]:
    return sorted(path.name for path in part.parent.iterdir()) if part.parent.is_dir() else []


def test_a_file_is_fetched_hashed_and_its_progress_told(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT)
    told: list[tuple[int, int | None]] = []
    found = download(
        server.url("/file"),
        part,
        progress=lambda done, total: told.append((done, total)),
        patience=pauses.patience(),
    )
    assert found == digest_of(CONTENT)
    assert part.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert left_beside(part) == ["file.pth.part"]
    assert pauses.seconds == []


def test_a_connection_that_is_cut_goes_on_where_it_was(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, cuts=[100_000, 250_000])
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=350000-"]
    assert pauses.seconds == [1, 1], "each connection brought something"


def test_a_later_run_goes_on_where_an_earlier_one_ended(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, cuts=[300_000, 0, 0, 0])
    with pytest.raises(WeightsError, match=r"ended after .* given up after .* 0\.3 MB are kept"):
        download(server.url("/file"), part, patience=pauses.patience())
    assert part.read_bytes() == CONTENT[:300_000]
    server.files["/file"].cuts = []
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)
    assert server.asked[-1][1] == "bytes=300000-"


def test_the_pauses_double_while_nothing_comes(server, serve, part, pauses):
    server.files["/file"] = serve(CONTENT, refusals=[503] * 9)
    with pytest.raises(WeightsError, match=r"answers 503 .* given up after 5 attempts"):
        download(server.url("/file"), part, patience=pauses.patience(attempts=5))
    assert pauses.seconds == [1, 2, 4, 8]


def test_errors_that_may_pass_are_tried_again(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, refusals=[503, 429, 408])
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_errors_that_will_not_pass_end_it_at_once(server, serve, part, pauses, code):
    server.files["/file"] = serve(CONTENT, refusals=[code] * 2)
    with pytest.raises(WeightsError, match=f"/file: the server answers {code}"):
        download(server.url("/file"), part, patience=pauses.patience())
    assert len(server.asked) == 1
    assert left_beside(part) == []


def test_a_server_that_stalls_counts_as_lost(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, stalls=1)
    assert download(server.url("/file"), part, patience=pauses.patience(stall=0.3)) == digest_of(CONTENT)
    assert len(server.asked) == 2


def test_a_server_that_always_stalls_is_given_up_with_the_reason(server, serve, part, pauses):
    server.files["/file"] = serve(CONTENT, stalls=9)
    with pytest.raises(WeightsError, match="the server has stalled; given up after 2 attempts"):
        download(server.url("/file"), part, patience=pauses.patience(stall=0.2, attempts=2))


def test_a_server_without_ranges_begins_anew(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, cuts=[400_000], ranges=False)
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)
    assert part.read_bytes() == CONTENT
    assert server.asked[1][1] == "bytes=400000-"


def test_another_version_of_the_file_is_not_joined_to_the_first(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(b"x" * 500_000, cuts=[200_000] + [0] * 3)
    with pytest.raises(WeightsError):
        download(server.url("/file"), part, patience=pauses.patience())
    server.files["/file"] = serve(CONTENT, etag='"2"')
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)


def test_a_part_that_is_whole_already_is_not_fetched_again(server, serve, part, pauses, digest_of):
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    server.files["/file"] = serve(CONTENT)
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)
    assert server.asked == [("/file", f"bytes={len(CONTENT)}-")]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, serve, part, pauses, digest_of):
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more")
    server.files["/file"] = serve(CONTENT)
    with pytest.raises(WeightsError, match="answers 416"):
        download(server.url("/file"), part, patience=pauses.patience())
    assert download(server.url("/file"), part, patience=pauses.patience()) == digest_of(CONTENT)


@pytest.mark.parametrize("declared", [True, False])
def test_a_server_that_sends_more_than_the_file_can_have_is_stopped(server, serve, part, pauses, declared):
    server.files["/file"] = serve(CONTENT, declares_length=declared)
    with pytest.raises(WeightsError, match=r"sends \d+ bytes or more, the file has at most 500000"):
        download(server.url("/file"), part, patience=pauses.patience(), largest=500_000)
    assert left_beside(part) == []
    assert len(server.asked) == 1


def test_a_length_that_is_not_declared_is_no_error(server, serve, part, pauses, digest_of):
    server.files["/file"] = serve(CONTENT, declares_length=False)
    told: list[int | None] = []
    found = download(
        server.url("/file"), part, progress=lambda done, total: told.append(total), patience=pauses.patience()
    )
    assert found == digest_of(CONTENT)
    assert set(told) == {None}


def test_redirects_are_followed_and_keep_the_range(server, serve, part, pauses, digest_of):
    server.files["/old"] = serve(b"", redirect="/new")
    server.files["/new"] = serve(CONTENT, cuts=[100_000])
    assert download(server.url("/old"), part, patience=pauses.patience()) == digest_of(CONTENT)
    assert ("/new", "bytes=100000-") in server.asked


def test_redirects_in_a_circle_end(server, serve, part, pauses):
    server.files["/a"] = serve(b"", redirect="/b")
    server.files["/b"] = serve(b"", redirect="/a")
    with pytest.raises(WeightsError, match="the server answers 302"):
        download(server.url("/a"), part, patience=pauses.patience())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_out_of_the_web_is_refused(server, serve, part, pauses, target):
    server.files["/file"] = serve(b"", redirect=target)
    with pytest.raises(WeightsError, match=r"not allowed|only http and https"):
        download(server.url("/file"), part, patience=pauses.patience())
    assert left_beside(part) == []


def test_a_redirect_from_https_to_http_is_refused():
    """Nothing here can serve https, so the handler is asked directly."""
    asked, headers = Request("https://weights.invalid/file"), HTTPMessage()
    headers["Location"] = "http://weights.invalid/file"
    with pytest.raises(WeightsError, match="refused to be sent from https to http://"):
        _SafeRedirects().http_error_302(asked, BytesIO(), 302, "", headers)


def test_other_addresses_are_refused(part, tmp_path):
    (tmp_path / "local").write_text("x")
    with pytest.raises(WeightsError, match="only http and https"):
        download((tmp_path / "local").as_uri(), part)


def test_no_server_at_all_is_told_of(server, part, pauses):
    server.server_close()
    with pytest.raises(WeightsError, match=r"refused.*check the network \(proxies: https_proxy\)"):
        download(server.url("/file"), part, patience=pauses.patience(attempts=2))


def test_the_proxy_of_the_environment_is_used(server, serve, part, pauses, monkeypatch, digest_of):
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    server.files["http://weights.invalid/file"] = serve(CONTENT)
    found = download("http://weights.invalid/file", part, patience=pauses.patience())
    assert found == digest_of(CONTENT)


def test_a_folder_that_cannot_be_made_is_told_of(server, serve, tmp_path, pauses):
    (tmp_path / "cache").write_text("a file where the folder should be")
    server.files["/file"] = serve(CONTENT)
    with pytest.raises(WeightsError, match=r"file\.pth\.part: cannot be written"):
        download(server.url("/file"), tmp_path / "cache" / "file.pth.part", patience=pauses.patience())
