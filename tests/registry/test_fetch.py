"""Pull and import, on small files of a real network's names and a server that may lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import fetch, public, store
from lipsync_cli.registry.entries import read_registry
from lipsync_cli.registry.public import PUBLIC, load_public


class Small(nn.Module):
    """A network that is told by the name of its one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Linear(2, 3)


class Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(2, 3)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLIC, "small", public._PublicNetwork(("small.weight",), Small))
    monkeypatch.setitem(PUBLIC, "other", public._PublicNetwork(("other.weight",), Other))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "small.pth"
    path.parent.mkdir()
    torch.save({"params_ema": Small().state_dict()}, path)
    return path


@pytest.fixture
def registered(folders, server, serve, checkpoint, digest_of):
    """Writes a registry with the weights `known` (its sha256 is), `unknown` and `by_hand`."""
    content = checkpoint.read_bytes()
    server.files["/known.pth"] = serve(content)
    server.files["/unknown.pth"] = serve(content)
    common = 'licence = "non-commercial"\narchitecture = "small"\nroles = ["restorer"]\nshipped = false\n'
    (folders["shipped"] / "registry.toml").write_text(
        "[sets]\n"
        f'[weights.known]\nfile = "known.pth"\nsha256 = "{digest_of(content)}"\nbytes = {len(content)}\n'
        f'url = "{server.url("/known.pth")}"\n{common}'
        f'[weights.unknown]\nfile = "unknown.pth"\nurl = "{server.url("/unknown.pth")}"\n{common}'
        f'[weights.by_hand]\nfile = "hand.pth"\npage = "https://example.org/page"\n{common}'
    )
    read_registry.cache_clear()
    return folders["cache/lipsync"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def weights_of(path: Path) -> dict[str, Tensor]:
    return load_public(path, "small").state_dict()


def test_a_pulled_file_lies_under_its_name_and_is_found(registered, pauses, checkpoint):
    fetched = fetch.pull("known", patience=pauses.patience())
    assert fetched.path == store.find_weights("known") == registered / "known.pth"
    assert names(registered) == ["known.pth"]
    assert fetched.path.read_bytes() == checkpoint.read_bytes()


def test_a_file_that_is_there_is_not_pulled_again(registered, pauses, server):
    fetch.pull("known", patience=pauses.patience())
    again = fetch.pull("known", patience=pauses.patience(), offline=True)
    assert again.was_there
    assert len(server.asked) == 1


def test_a_file_that_is_not_the_registered_one_is_removed(registered, pauses, server):
    content = server.files["/known.pth"].content
    server.files["/known.pth"].content = content[:-1] + b"?"
    with pytest.raises(
        WeightsError, match=r"not the registered file: expected sha256 \w+, got \w+ .* removed"
    ):
        fetch.pull("known", patience=pauses.patience())
    assert names(registered) == []
    with pytest.raises(WeightsError, match="run `lipsync weights pull known`"):
        store.find_weights("known")


def test_an_unknown_hash_is_shown_and_must_be_trusted(registered, pauses, server, checkpoint, digest_of):
    digest = digest_of(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match=f"sha256 {digest}; the right one is not publicly known.*--trust"):
        fetch.pull("unknown", patience=pauses.patience())
    assert names(registered) == ["unknown.pth.part"]
    fetched = fetch.pull("unknown", trust=True, patience=pauses.patience())
    assert store.find_weights("unknown") == fetched.path
    assert names(registered) == ["trusted.json", "unknown.pth"]
    assert server.asked[1][1] is not None, "nothing is fetched twice"


def test_a_trusted_file_that_changes_later_is_refused(registered, pauses):
    path = fetch.pull("unknown", trust=True, patience=pauses.patience()).path
    path.write_bytes(path.read_bytes() + b"?")
    with pytest.raises(WeightsError, match="damaged or of another version"):
        store.find_weights("unknown")


def test_a_file_of_unknown_hash_that_was_put_there_by_hand_is_refused(registered, checkpoint):
    (registered / "unknown.pth").write_bytes(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match=r"not publicly known.*weights import .* --name unknown --trust"):
        store.find_weights("unknown")


def test_a_server_that_sends_something_else_is_caught_even_when_trusted(registered, pauses, server):
    server.files["/unknown.pth"].content = b"<html>Please accept our cookies</html>"
    with pytest.raises(WeightsError, match="not a file of weights"):
        fetch.pull("unknown", trust=True, patience=pauses.patience())
    assert names(registered) == []


def test_a_server_that_sends_another_network_is_caught(registered, pauses, server, tmp_path):
    torch.save(Other().state_dict(), tmp_path / "other.pth")
    server.files["/unknown.pth"].content = (tmp_path / "other.pth").read_bytes()
    with pytest.raises(WeightsError, match="weights of 'other', not of 'small'"):
        fetch.pull("unknown", trust=True, patience=pauses.patience())
    assert names(registered) == []


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_offline_touches_no_network(registered, server, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv(fetch.OFFLINE_VARIABLE, "1")
    with pytest.raises(WeightsError, match=r"offline: fetch http://.* elsewhere and run .*weights import"):
        fetch.pull("known", offline=how == "flag")
    assert server.asked == []


def test_weights_without_an_address_say_where_people_get_them(registered, server):
    with pytest.raises(WeightsError, match=r"get hand\.pth from https://example\.org/page and run .*import"):
        fetch.pull("by_hand")
    with pytest.raises(WeightsError, match=r"get hand\.pth from https://example\.org/page"):
        store.find_weights("by_hand")
    assert server.asked == []


def test_an_imported_file_is_safetensors_with_its_story_in_the_metadata(registered, checkpoint, digest_of):
    fetched = fetch.import_file(checkpoint, name="known")
    assert fetched.path == store.find_weights("known") == registered / "known.safetensors"
    with safe_open(fetched.path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "small"
    assert metadata["source"] == "small.pth"
    assert metadata["source_sha256"] == digest_of(checkpoint.read_bytes())
    assert metadata["licence"] == "non-commercial"
    for name, tensor in weights_of(checkpoint).items():
        assert torch.equal(weights_of(fetched.path)[name], tensor)
    assert names(registered) == ["known.safetensors", "trusted.json"]


def test_an_import_is_recognised_by_its_hash_or_its_name(registered, checkpoint, tmp_path):
    assert fetch.import_file(checkpoint).name == "known"
    torch.save(Small().state_dict(), tmp_path / "hand.pth")
    assert fetch.import_file(tmp_path / "hand.pth", trust=True).name == "by_hand"
    torch.save(Small().state_dict(), tmp_path / "nameless.pth")
    with pytest.raises(WeightsError, match="say which with --name: known, unknown, by_hand"):
        fetch.import_file(tmp_path / "nameless.pth", trust=True)


def test_an_import_of_unknown_hash_must_be_trusted(registered, checkpoint, digest_of):
    digest = digest_of(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match=f"sha256 {digest}; the right one is not publicly known.*--trust"):
        fetch.import_file(checkpoint, name="by_hand")
    assert names(registered) == []
    fetch.import_file(checkpoint, name="by_hand", trust=True)
    assert store.find_weights("by_hand").name == "by_hand.safetensors"


def test_an_import_of_another_hash_than_the_registered_one_must_be_trusted(registered, tmp_path):
    torch.save(Small().state_dict(), tmp_path / "known.pth")
    with pytest.raises(WeightsError, match="is registered: damaged or another version"):
        fetch.import_file(tmp_path / "known.pth")
    assert names(registered) == []
    assert fetch.import_file(tmp_path / "known.pth", trust=True).name == "known"


def test_an_import_of_another_network_than_its_name_is_refused(registered, tmp_path):
    torch.save(Other().state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="these are weights of 'other', but 'known' is a 'small'"):
        fetch.import_file(tmp_path / "other.pth", name="known", trust=True)
    with pytest.raises(WeightsError, match="say which with --name: none"):
        fetch.import_file(tmp_path / "other.pth", trust=True)


def test_an_import_with_missing_weights_lists_them_and_leaves_nothing(registered, tmp_path):
    torch.save({"small.weight": torch.zeros(3, 2)}, tmp_path / "known.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(small\.bias\)"):
        fetch.import_file(tmp_path / "known.pth", trust=True)
    assert names(registered) == []


def test_a_second_import_replaces_the_first(registered, checkpoint, tmp_path):
    fetch.import_file(checkpoint, name="known")
    torch.save(Small().state_dict(), tmp_path / "new.pth")
    fetch.import_file(tmp_path / "new.pth", name="known", trust=True)
    assert torch.equal(
        weights_of(store.find_weights("known"))["small.weight"],
        weights_of(tmp_path / "new.pth")["small.weight"],
    )


def test_what_a_publishers_file_name_tells_of_the_hash_is_compared(folders, checkpoint, digest_of):
    (folders["shipped"] / "registry.toml").write_text(
        '[sets]\n[weights.named]\nfile = "named.pth"\nsha256_begins = "33a1fac5"\nlicence = "x"\n'
        'architecture = "small"\nroles = ["restorer"]\nshipped = false\n'
    )
    read_registry.cache_clear()
    with pytest.raises(WeightsError, match="but 33a1fac5 is registered"):
        fetch.import_file(checkpoint)


@pytest.mark.parametrize("content", ["no json", "[]", '{"weights": {"x": 3}}', '{"weights": {"x": {}}}'])
def test_a_damaged_list_of_trusted_files_is_told_of(registered, content):
    (registered / "trusted.json").write_text(content)
    with pytest.raises(WeightsError, match=r"trusted\.json.* remove it and import your files again"):
        store.find_weights("known")


def test_trusted_files_are_kept_side_by_side(registered, checkpoint):
    fetch.import_file(checkpoint, name="known")
    fetch.import_file(checkpoint, name="by_hand", trust=True)
    kept = json.loads((registered / "trusted.json").read_text())["weights"]
    assert sorted(kept) == ["by_hand", "known"]
    assert kept["known"]["origin"] == str(checkpoint)
