from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lipsync_cli import assembly_evaluation, assembly_networks
from lipsync_cli.cli import app
from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.interfaces import Box, Frame, Image
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.models.architectures import build
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.registry import fetch, store
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.registry.trust import TrustedFile, remember

N = 30
SETTINGS = {
    "lips": {"size": [24, 48], "stem_width": 4, "widths": [4], "depths": [1], "strides": [2], "expansion": 1},
    "speech": {"widths": [16], "depths": [1], "strides": [2], "outputs": 8},
}


@pytest.fixture(scope="module")
def views(weights_folder: Path) -> list[Image]:
    """The demo's portrait, its mouth stretched up and down as if it spoke."""
    portrait = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    return [crop_face(portrait, Box(62, 20, 402, 360 + 6 * np.sin(i / 2)), 240) for i in range(N)]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, N * 640).astype(np.float32), 16000)
    return path


Film = Callable[..., Path]


@pytest.fixture
def film(tmp_path: Path, views: list[Image], speech: Path) -> Film:
    def write(name: str, pictures: list[Image] | None = None, *, sound: bool | Path = True) -> Path:
        path, shown = tmp_path / name, pictures or views
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = shown[0].shape[:2]
        heard = sound if isinstance(sound, Path) else speech if sound else None
        options = {"width": width, "height": height, "rate": Fraction(25), "speech": heard}
        with VideoWriter(path, **options, preset="ultrafast") as writer:
            for index, picture in enumerate(shown):
                writer.write(Frame(index, index / 25, picture))
        return path

    return write


@pytest.fixture(scope="module")
def sync_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained one: whatever it says, it says it in the right places."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "sync.safetensors"
    save_checkpoint(path, build("avsyncnet", SETTINGS), architecture="avsyncnet", settings=SETTINGS)
    return path


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(["eval", *(str(argument) for argument in arguments)])
    return int(ended.value.code or 0)


def test_two_folders_give_a_table_a_json_and_a_csv(
    film: Film, sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film("real/one.mp4")
    film("made/one.mp4")
    film("made/lonely.mp4")
    film("real/blank.mp4")
    film("made/blank.mp4", [np.zeros((240, 240, 3), np.uint8)] * N)
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "real")
    outputs = (
        "--json",
        tmp_path / "out.json",
        "--csv",
        tmp_path / "out.csv",
        "--series",
        tmp_path / "openings",
    )
    assert _run(*folders, *outputs, "--sync-network", sync_network, "--paper") == 0
    text = capsys.readouterr().out
    assert "1 clips measured, 2 left out" in text
    assert "32.64" in text
    values = json.loads((tmp_path / "out.json").read_text())
    assert values["metrics"]["ssim"]["mean"] == pytest.approx(1.0)
    assert values["metrics"]["ssim"]["n"] == 1
    assert -15 <= values["metrics"]["offset"]["mean"] <= 15
    whole = {each["clip"]: each["reason"] for each in values["left_out"] if each["what"] == "all"}
    assert set(whole) == {"blank", "lonely"}
    assert "no frame of it has a face" in whole["blank"]
    for network in ("sync_network", "face_detector", "face_landmarks"):
        assert len(values["settings"][f"{network}_sha256"]) == 64
    assert "model" not in values["settings"]  # nothing was dubbed
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["clip"] for row in rows] == ["one", "blank", "lonely"]
    assert len((tmp_path / "openings" / "one.csv").read_text().splitlines()) == N + 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["out.csv", "out.json"]


def test_every_kind_of_bad_clip_is_listed_with_its_reason(
    film: Film, views: list[Image], sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(N * 640, np.float32), 16000)
    kinds: dict[str, tuple[list[Image], bool | Path]] = {
        "good": (views, True),
        "shorter": (views[:16], True),
        "smaller": ([view[20:220, 20:220] for view in views], True),
        "faceless": ([np.zeros((240, 240, 3), np.uint8)] * N, True),
        "brief": (views[:14], True),
        "silent": (views, silence),
        "mute": (views, False),
        "lonely": (views, True),
    }
    for name, (pictures, sound) in kinds.items():
        film(f"made/{name}.mp4", pictures, sound=sound)
        if name != "lonely":
            film(f"real/{name}.mp4")
    film("real/alone.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "real")
    outputs = ("--json", tmp_path / "out.json", "--csv", tmp_path / "out.csv")
    assert _run(*folders, *outputs, "--sync-network", sync_network) == 0
    expected = {
        ("alone", "all"): "has no video of the name alone",
        ("brief", "all"): "only 14 frames have a face",
        ("faceless", "all"): "no frame of it has a face",
        ("lonely", "all"): "has no video of the name lonely",
        ("shorter", "all"): "lasts 0.64 s",
        ("smaller", "all"): "is 200x200 pixels",
        ("mute", "sync"): "no sound",
        ("silent", "sync"): "its sound is silent",
        ("mute", "pauses"): "no sound",
    }
    values = json.loads((tmp_path / "out.json").read_text())
    told = {(each["clip"], each["what"]): each["reason"] for each in values["left_out"]}
    for key, reason in expected.items():
        assert reason in told[key], key
    assert (values["n_clips"], values["n_left_out"]) == (3, 6)
    assert values["metrics"]["offset"]["n"] == 1
    assert values["metrics"]["ssim"]["n"] == 3
    rows = {row["clip"]: row for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())}
    assert rows.keys() == {*kinds, "alone"}
    for (name, what), reason in expected.items():
        assert f"{what}: " in rows[name]["left_out"]
        assert reason in rows[name]["left_out"]
    assert rows["silent"]["offset"] == rows["mute"]["offset"] == ""
    assert ",nan" not in (tmp_path / "out.csv").read_text().lower()
    text = capsys.readouterr().out
    assert "3 clips measured, 6 left out" in text
    assert all(f"{name}: " in text for name, what in expected if what == "all")


def test_a_network_of_no_numbers_is_told_for_every_clip(film: Film, tmp_path: Path) -> None:
    network = build("avsyncnet", SETTINGS)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    save_checkpoint(tmp_path / "nan.safetensors", network, architecture="avsyncnet", settings=SETTINGS)
    film("made/one.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "made")
    run = (*folders, "--sync-network", tmp_path / "nan.safetensors", "--json", tmp_path / "out.json")
    assert _run(*run) == 0
    values = json.loads((tmp_path / "out.json").read_text())
    told = {each["what"]: each["reason"] for each in values["left_out"]}
    assert {"sync", "real_sync", "frechet_lips"} <= told.keys()
    assert "not finite" in told["sync"]
    assert values["metrics"].keys().isdisjoint({"offset", "frechet_lips"})


def test_identity_comes_from_the_users_file_or_its_name(
    film: Film, mean_colour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film("made/one.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "made", "--sync-network", "none")
    run = (*folders, "--json", tmp_path / "out.json", "--identity")
    assert _run(*run, mean_colour) == 0
    values = json.loads((tmp_path / "out.json").read_text())
    assert values["metrics"]["identity"]["mean"] == pytest.approx(1.0)
    assert values["settings"]["identity_sha256"] == hashlib.sha256(mean_colour.read_bytes()).hexdigest()
    assert "identity" not in values["not_measured"]
    capsys.readouterr()
    assert _run(*run, "sface") == 5
    assert "lipsync weights pull sface" in capsys.readouterr().err
    with pytest.raises(WeightsError, match=r"0ba9fbfa.* is registered"):
        fetch.import_file(mean_colour, name="sface")
    imported = fetch.import_file(mean_colour, name="sface", trust=True)
    assert imported.path == store.cache_folder() / "face_recognition_sface_2021dec.onnx"
    assert _run(*run, "sface") == 0


@pytest.mark.slow
def test_processes_side_by_side_measure_the_same(film: Film, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        film(f"made/{name}.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "made", "--sync-network", "none")
    assert _run(*folders, "--json", tmp_path / "one.json") == 0
    assert _run(*folders, "--json", tmp_path / "two.json", "--workers", 2) == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["clips"] == two["clips"]
    assert "offset" not in one["metrics"]


def test_all_clips_bad_ends_with_7_and_keeps_nothing(
    film: Film, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film("real/one.mp4")
    film("made/other.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "real", "--sync-network", "none")
    assert _run(*folders, "--json", tmp_path / "out.json") == 7
    message = capsys.readouterr().err
    assert "none of 2 clips could be measured" in message
    assert not (tmp_path / "out.json").exists()


def test_a_single_video_is_told_second_by_second(
    film: Film, sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = film("one.mp4")
    assert _run("--video", video, "--sync-network", sync_network, "--json", tmp_path / "out.json") == 0
    text = capsys.readouterr().out
    assert "offset" in text
    assert "second  score  offset" in text
    (clip,) = json.loads((tmp_path / "out.json").read_text())["clips"]
    assert len(clip["sync"]["scores"]) == 31
    assert len(clip["sync"]["seconds"]) == 2


def test_a_video_without_sound_or_face_ends_with_its_own_code(
    film: Film, sync_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = film("mute.mp4", sound=False)
    blank = film("blank.mp4", [np.zeros((240, 240, 3), np.uint8)] * N)
    assert _run("--video", mute, "--sync-network", sync_network) == 3
    assert _run("--video", blank, "--sync-network", sync_network) == 4
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "no sound" in errors[0]
    assert "no frame of it has a face" in errors[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--generated", "x"],
        ["--reference", "x"],
        ["--video", "a.mp4", "--generated", "x", "--reference", "y"],
    ],
)
def test_anything_but_two_folders_or_a_video_is_wrong_usage(arguments: list[str]) -> None:
    assert _run(*arguments) == 2


def test_bad_networks_files_and_places_are_told_before_any_work(
    film: Film, sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = film("made/one.mp4")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "made")
    text = tmp_path / "text.safetensors"
    text.write_text("no network")
    assert _run(*folders, "--sync-network", text) == 5
    assert _run(*folders, "--sync-network", tmp_path / "absent.safetensors") == 5
    assert _run("--video", video, "--sync-network", sync_network, "--syncnet-v2", text) == 5
    assert _run(*folders, "--sync-network", "none", "--json", tmp_path / "absent" / "out.json") == 7
    assert _run(*folders, "--sync-network", "none", "--own-offset", "soon") == 6
    offsets = tmp_path / "offsets.toml"
    offsets.write_text('one = "late"\n')
    assert _run(*folders, "--sync-network", "none", "--own-offset", offsets) == 6
    assert len(capsys.readouterr().err.splitlines()) == 6


def test_own_offsets_come_from_a_file_by_stem(film: Film, tmp_path: Path) -> None:
    film("made/one.mp4")
    film("made/two.mp4")
    offsets = tmp_path / "offsets.toml"
    offsets.write_text("two = 3\n")
    folders = ("--generated", tmp_path / "made", "--reference", tmp_path / "made", "--sync-network", "none")
    assert _run(*folders, "--own-offset", offsets, "--json", tmp_path / "out.json") == 0
    clips = json.loads((tmp_path / "out.json").read_text())["clips"]
    assert {clip["clip"]: clip["own_offset"] for clip in clips} == {"one": 0.0, "two": 3.0}


def test_a_corpus_is_made_measured_compared_and_shown(
    film: Film, sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film("grid/s1/one.mp4")
    film("grid/s2/two.mp4")
    network = ("--sync-network", sync_network)
    run = ("--dataset", "grid", "--root", tmp_path / "grid", "--work", tmp_path / "work", *network)
    assert _run(*run, "--baseline", "real", "--json", tmp_path / "real.json") == 0
    pages = ("--html", tmp_path / "page", "--json", tmp_path / "static.json")
    assert _run(*run, "--baseline", "static", "--against", tmp_path / "real.json", *pages) == 0
    told = capsys.readouterr().out
    assert "worse" in told
    assert (tmp_path / "page" / "index.html").is_file()
    assert (tmp_path / "work" / "static" / "made" / "s1" / "one.mp4").is_file()
    values = json.loads((tmp_path / "static.json").read_text())
    assert values["differences"]["psnr"]["mean"] < 0
    assert [clip["clip"] for clip in values["clips"]] == ["s1/one", "s2/two"]
    assert "frechet_lips" in values["metrics"]
    assert not list(tmp_path.glob(".*.clips*"))
    folders = ("--generated", tmp_path / "grid", "--reference", tmp_path / "grid", *network)
    assert _run(*folders, "--against", tmp_path / "work" / "static" / "made") == 0
    assert "less " in capsys.readouterr().out


def test_grid_has_its_usual_split_and_the_shipped_networks_say_whom_they_know(
    film: Film, sync_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("s1/one", "s20/two", "s23/three"):
        film(f"grid/{name}.mp4")
    run = (
        "--dataset",
        "grid",
        "--root",
        tmp_path / "grid",
        "--baseline",
        "real",
        "--json",
        tmp_path / "out.json",
    )
    assert _run(*run, "--split", "test") == 0
    note = "chosen by, 2 of the 2 speakers (s1, s20)"
    assert note in " ".join(capsys.readouterr().err.split())
    values = json.loads((tmp_path / "out.json").read_text())
    assert [clip["clip"] for clip in values["clips"]] == ["s1/one", "s20/two"]
    assert note in values["settings"]["note"]
    assert _run(*run, "--split", "s23") == 0
    assert _run(*run, "--split", "test", "--sync-network", sync_network) == 0
    assert "speakers" not in capsys.readouterr().err
    assert _run(*run, "--split", "nobody") == 7


def test_without_a_place_for_it_a_corpus_is_made_in_the_cache(
    film: Film, sync_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    film("grid/s1/one.mp4")
    run = ("--dataset", "grid", "--root", tmp_path / "grid", "--sync-network", sync_network)
    assert _run(*run, "--baseline", "static") == 0
    made = list((tmp_path / "cache" / "lipsync" / "eval").glob("grid-*/static/made/s1/one.mp4"))
    assert len(made) == 1


def test_a_corpus_is_dubbed_by_networks_that_are_loaded_once(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def counted(path: Path, *arguments: Any) -> Any:
        loaded.append(path)
        return load_generator(path, *arguments)

    load_generator = assembly_networks.load_generator
    monkeypatch.setattr(assembly_networks, "load_generator", counted)
    film("grid/s1/one.mp4")
    film("grid/s2/two.mp4")
    run = ("--dataset", "grid", "--root", tmp_path / "grid", "--work", tmp_path / "work")
    assert _run(*run, "--sync-network", "none", "--json", tmp_path / "out.json") == 0
    values = json.loads((tmp_path / "out.json").read_text())
    assert [clip["clip"] for clip in values["clips"]] == ["s1/one", "s2/two"]
    assert values["metrics"]["psnr"]["mean"] < 100
    assert [path.name for path in loaded] == ["talking_face.safetensors"]


def test_the_restorer_is_one_of_the_networks_that_a_run_depends_on() -> None:
    file, hashes = store.cache_folder() / "GPEN-BFR-512.pth", []
    file.parent.mkdir(parents=True)
    for content in (b"one", b"another"):
        file.write_bytes(content)
        store.forget_digests()
        remember(file.parent, "gpen", TrustedFile(file.name, store.sha256_of(file), "here"))
        found = assembly_evaluation.network_hashes("none", None, None, model="default", restore="gpen")
        assert {"model_sha256", "restorer_sha256", "face_landmarks_sha256"} <= set(found)
        hashes.append(found["restorer_sha256"])
    assert hashes == [hashlib.sha256(content).hexdigest() for content in (b"one", b"another")]


def test_the_papers_analyses_are_told_and_plotted(
    film: Film,
    sync_network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film("real/one.mp4")
    film("real/two.mp4")
    film("real/blank.mp4", [np.zeros((240, 240, 3), np.uint8)] * N)
    analyses = ("--stability", "--robustness", "--reference", tmp_path / "real", "--network", sync_network)
    assert _run(*analyses, "--plots", tmp_path / "plots", "--json", tmp_path / "out.json") == 0
    told = capsys.readouterr().out
    assert "2 real clips used, 1 left out" in told
    assert "wrong: another time" in told
    assert "wrong: another clip" in told
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"stability.png", "robustness.png"}
    values = json.loads((tmp_path / "out.json").read_text())
    clips = values["stability"][str(sync_network)]["clips"]
    assert [len(clip["scores"]) for clip in clips] == [6, 6]
    assert values["left_out"][0]["clip"] == "blank/blank"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert _run(*analyses[1:]) == 0  # without a place for it the plot goes into this folder
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["robustness.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build_network", "sees"), [(SyncNetV2, "face"), (SyncNetColor, "lips")], ids=["v2", "color"]
)
def test_public_sync_networks_are_examined_from_the_users_file(
    film: Film, tmp_path: Path, build_network: Callable[[], torch.nn.Module], sees: str
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "public.pth"
    torch.save(build_network().state_dict(), file)
    film("real/one.mp4")
    assert assembly_evaluation.load_examined_networks([str(file)], "cpu")[str(file)].sees == sees
    run = ("--stability", "--reference", tmp_path / "real", "--network", file, "--network", "default")
    assert _run(*run, "--plots", tmp_path, "--json", tmp_path / "out.json") == 0
    values = json.loads((tmp_path / "out.json").read_text())
    assert values["networks"].keys() == values["stability"].keys() == {str(file), "default"}
    scores = values["stability"][str(file)]["clips"][0]["scores"]
    assert len(scores) == 6
    assert all(-1.001 <= score <= 1.001 for score in scores)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dataset", "grid"),
        ("--dataset", "grid", "--root", ".", "--work", ".", "--video", "a.mp4"),
        ("--generated", ".", "--reference", ".", "--baseline", "static"),
        ("--generated", ".", "--reference", ".", "--plots", "."),
        ("--stability", "--plots", "."),
        ("--stability", "--reference", ".", "--csv", "out.csv"),
        ("--video", "a.mp4", "--against", "."),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    assert _run(*arguments) == 2


def test_a_corpus_that_is_none_and_a_missing_other_method_end_with_7(tmp_path: Path) -> None:
    run = ("--dataset", "lrs2", "--root", tmp_path, "--work", tmp_path / "work", "--baseline", "real")
    assert _run(*run, "--sync-network", "none") == 7
    assert _run(*run, "--sync-network", "none", "--against", tmp_path / "absent") == 7
