from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from lipsync_cli.cli import app
from lipsync_cli.data.layout import CacheSettings
from lipsync_cli.registry.checkpoint import load_network, read_header

ROOT = Path(__file__).resolve().parents[2]
SYNC = """
n_clips = 2
n_windows = 2

[loop]
steps = 40
warm_up = 2
save_every = 1
validate_every = 1000

[corpus]
validation_speakers = ["e"]

[network]
rectified = false

[network.lips]
size = [16, 32]
stem_width = 4
stem_kernel = 3
stem_pool = 1
widths = [4, 6]
depths = [1, 1]
strides = [1, 2]
expansion = 1
pool = [2, 4]

[network.speech]
widths = [4, 6]
depths = [1, 1]
strides = [2, 2]
squeeze = 2
attention = 4
outputs = 8
"""
READER = "[loop]\nsteps = 2\n[sampling]\nn_clips = 2\n[network]\nwidths = [4, 6, 8, 10]\n"
PREDICTOR = "n_clips = 2\n[loop]\nsteps = 2\n[network]\nwidth = 4\nn_networks = 2\n"
DEFAULT = """
adversarial_from = 1

[loop]
steps = 2

[corpus]
validation_share = 0.2

[network]
image_size = 32
widths = [4, 6, 8]
bottleneck_depth = 1

[discriminator]
widths = [4, 6, 8]

[sampling]
n_clips = 2
n_frames = 2
"""
PAPER = """
recipe = "paper"

[loop]
steps = 2
schedule = "constant"

[sampling]
n_windows = 2

[coefficients]
perceptual = 0
sync = {sync}
triplet = 0

[network]
image_size = 32
stem = 4
widths = [4, 6, 8, 8, 8]
strides = [2, 2, 2, 2, 2]

[discriminator]
widths = [4, 6, 8, 8, 8]
strides = [2, 2, 2, 2, 2]
""" + SYNC[SYNC.index("[network.speech]") :]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIPSYNC_WEIGHTS", raising=False)


@pytest.fixture
def cache(draw_corpus) -> Path:
    return draw_corpus().folder


@pytest.fixture
def toml(tmp_path):
    def write(text: str, name: str = "settings.toml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def arguments(stage: str, cache: Path, out: Path, config: str | None = None, *more: str) -> list[str]:
    plain = ["train", "--stage", stage, "--data", str(cache), "--out", str(out), "--precision", "fp32"]
    return [*plain, *(["--config", config] if config else []), *more, "--device", "cpu"]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(list(args))
    return int(ended.value.code or 0)


def state(out: Path) -> dict:
    return torch.load(out / "state.pt", weights_only=True)


def assert_same(first: object, second: object, where: str = "state") -> None:
    if isinstance(first, dict):
        assert isinstance(second, dict)
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_that_was_ended_from_outside_goes_on_as_if_it_had_not_been(cache, toml, tmp_path, number, code):
    """Ctrl-C and SIGTERM save the state; after SIGKILL there is that of the last save. At a random moment."""
    at, wait = random.randint(2, 20), random.uniform(0, 0.05)
    print(f"ended {wait} s after step {at}")
    config = toml(SYNC)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [
        sys.executable,
        "-m",
        "lipsync_cli",
        *arguments("avsyncnet", cache, broken, config, "--log-every", "1"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"step {at}/40"):
            time.sleep(wait)
            process.send_signal(number)
            break
    rest = process.stderr.read()
    assert process.wait() == code
    process.stderr.close()
    assert process.stdout is not None
    process.stdout.close()
    done = state(broken)["step"]
    assert at <= done < 40
    if number is not signal.SIGKILL:
        assert f"stopped after {done} of 40 steps: --resume goes on from here" in rest
    assert run(*arguments("avsyncnet", cache, broken, None, "--resume")) == 0
    assert run(*arguments("avsyncnet", cache, whole, config)) == 0
    assert_same(state(broken), state(whole))
    steps = [row.split(",")[0] for row in (broken / "log.csv").read_text().splitlines()[1:]]
    assert steps == [str(step) for step in range(1, 41)]


def test_lines_of_progress_and_figures_go_to_stderr_and_the_result_to_stdout(cache, toml, tmp_path, capsys):
    config = toml(SYNC)
    out = tmp_path / "run"
    assert run(*arguments("avsyncnet", cache, out, config, "--steps", "5", "--log-every", "2")) == 0
    output = capsys.readouterr()
    assert output.out == f"avsyncnet: 5 steps, {out / 'avsyncnet.safetensors'}\n"
    lines = [line for line in output.err.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/5", "4/5", "5/5", "5:"]
    assert re.fullmatch(
        r"step 4/5  sync [\d.]+, right [\d.]+  "
        r"\d+ ms a step \(data \d+, forward \d+, backward \d+\), \d:\d\d:\d\d left",
        lines[1],
    )
    assert re.fullmatch(r"step 5: within_1 [01], confidence [\d.e-]+", lines[3])


def test_resolved_settings_are_written_beside_the_run(cache, toml, tmp_path):
    out = tmp_path / "run"
    assert (
        run(
            *arguments(
                "avsyncnet", cache, out, toml(SYNC), "--steps", "1", "--seed", "7", "--set", "rate=0.5"
            )
        )
        == 0
    )
    kept = json.loads((out / "settings.json").read_text())
    assert (kept["stage"], kept["recipe"]) == ("avsyncnet", "default")
    assert kept["settings"]["loop"]["steps"] == 1
    assert kept["settings"]["loop"]["seed"] == 7
    assert kept["settings"]["rate"] == 0.5
    assert kept["settings"]["temperature"] == 0.07  # a default
    assert kept["notes"]["data"] == str(cache)
    assert kept["notes"]["device"] == "cpu"


def test_all_stages_of_the_default_networks_follow_one_another(cache, toml, tmp_path, capsys):
    reader, predictor = tmp_path / "reader", tmp_path / "predictor"
    assert run(*arguments("lip_reader", cache, reader, toml(READER, "reader.toml"))) == 0
    assert run(*arguments("lip_predictor", cache, predictor, toml(PREDICTOR, "predictor.toml"))) == 0
    files = "--lip-reader", str(reader / "lip_reader.safetensors")
    files += "--lip-predictor", str(predictor / "lip_predictor.safetensors")
    for stage in ("gl", "gs"):
        out = tmp_path / stage
        assert run(*arguments(stage, cache, out, toml(DEFAULT), *files)) == 0
        assert read_header(out / "talking_face.safetensors").architecture == "warping_generator"
        assert (out / "samples" / "step-00000002.png").is_file()
        figures = json.loads((out / "figures.jsonl").read_text())
        assert {"step", "opening_r", "amplitude", "silent"} <= figures.keys()
    assert "stages gs and gl are one network" in capsys.readouterr().err
    assert load_network(tmp_path / "gl" / "talking_face.safetensors").hears == "speech_embedding_wide"
    assert_same(state(tmp_path / "gl"), state(tmp_path / "gs"))


def test_all_stages_of_the_paper_follow_one_another(cache, toml, tmp_path):
    folders = {stage: tmp_path / stage for stage in ("avsyncnet", "gs", "gl")}
    assert run(*arguments("avsyncnet", cache, folders["avsyncnet"], toml(SYNC), "--steps", "2")) == 0
    sync = "--avsyncnet", str(folders["avsyncnet"] / "avsyncnet.safetensors")
    silent = "--silent-lip", str(folders["gs"] / "silent_lip.safetensors")
    gs, gl = (toml(PAPER.format(sync=n), f"{n}.toml") for n in (0, 2))
    assert run(*arguments("gs", cache, folders["gs"], gs, *sync)) == 0
    assert run(*arguments("gl", cache, folders["gl"], gl, *sync, *silent)) == 0
    header = (folders["gl"] / "log.csv").read_text().splitlines()[0]
    assert header.startswith("step,seconds,gan,pixel,sync,discriminator,data_ms,")
    generator = load_network(folders["gl"] / "talking_face.safetensors")
    heard = load_network(folders["avsyncnet"] / "avsyncnet.safetensors").audio_encoder
    for name, tensor in heard.state_dict().items():
        assert torch.equal(generator.audio_encoder.state_dict()[name], tensor)


@pytest.mark.parametrize("stage", ["gs", "gl"])
def test_without_a_vgg_it_says_which_file_to_bring_or_which_coefficients_to_set_to_0(
    cache, toml, tmp_path, capsys, stage
):
    assert run(*arguments("avsyncnet", cache, tmp_path / "sync", toml(SYNC), "--steps", "1")) == 0
    capsys.readouterr()
    text = PAPER.format(sync=0).replace("perceptual = 0", "perceptual = 1")
    sync = "--avsyncnet", str(tmp_path / "sync" / "avsyncnet.safetensors")
    assert run(*arguments(stage, cache, tmp_path / "run", toml(text), *sync)) == 6
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "vgg19-dcbb9e9d.pth" in error
    assert str(tmp_path / "home" / "lipsync") in error
    assert "--set coefficients.perceptual=0" in error
    assert not (tmp_path / "run").exists()


def test_the_users_vgg_16_is_found_beside_other_weights(cache, toml, tmp_path):
    from safetensors.torch import save_file

    from lipsync_cli.models.vgg import VGGFeatures, VGGSettings

    folder = tmp_path / "home" / "lipsync"
    folder.mkdir(parents=True)
    vgg = VGGFeatures(VGGSettings(depths=(2, 2, 3, 3, 3), taps=(2, 2, 3, 3, 3)))
    save_file(vgg.state_dict(), folder / "vgg16.safetensors")
    assert run(*arguments("avsyncnet", cache, tmp_path / "sync", toml(SYNC), "--steps", "1")) == 0
    text = (
        PAPER.format(sync=0)
        .replace("perceptual = 0", "perceptual = 1")
        .replace("n_windows = 2", "n_windows = 1")
    )
    sync = "--avsyncnet", str(tmp_path / "sync" / "avsyncnet.safetensors")
    assert run(*arguments("gs", cache, tmp_path / "run", toml(text), *sync, "--steps", "1")) == 0
    assert (
        (tmp_path / "run" / "log.csv")
        .read_text()
        .startswith("step,seconds,gan,pixel,perceptual,discriminator")
    )


def test_a_run_is_not_overwritten_and_goes_on_with_the_same_settings_only(cache, toml, tmp_path, capsys):
    out, config = tmp_path / "run", toml(SYNC)
    assert run(*arguments("avsyncnet", cache, out, config, "--steps", "3")) == 0
    before = (out / "state.pt").read_bytes()
    for more, code, message in (
        ((), 7, "holds a run already: add --resume"),
        (("--resume", "--steps", "3", "--seed", "1"), 6, "loop.seed = 0, not 1: leave it as it was"),
        (("--resume", "--steps", "2"), 6, "loop.steps = 3, not 2: steps may grow, not shrink"),
        (
            ("--resume", "--steps", "3", "--set", "network.lips.pool=[1,1]"),
            6,
            "network.lips.pool = [2, 4], not [1, 1]",
        ),
    ):
        capsys.readouterr()
        assert run(*arguments("avsyncnet", cache, out, config, *more)) == code
        assert message in capsys.readouterr().err
        assert (out / "state.pt").read_bytes() == before
    assert run(*arguments("avsyncnet", cache, out, None, "--resume", "--steps", "5")) == 0
    assert state(out)["step"] == 5
    assert json.loads((out / "settings.json").read_text())["settings"]["loop"]["steps"] == 5


def test_a_cache_that_has_changed_since_is_told(cache, draw_corpus, toml, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*arguments("avsyncnet", cache, out, toml(SYNC), "--steps", "1")) == 0
    draw_corpus().add("f", "new")
    assert run(*arguments("avsyncnet", cache, out, None, "--resume", "--steps", "2")) == 0
    assert "its clips are not those that the run was started with" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(cache, toml, tmp_path, capsys):
    out = tmp_path / "run"
    text = SYNC.replace("n_clips = 2", "n_clips = 2\nrate = 1e25").replace("warm_up = 2", "warm_up = 0")
    assert run(*arguments("avsyncnet", cache, out, toml(text))) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"loss 'sync' is not a number at step \d+|weights .* are not numbers at step \d+", error)
    if (out / "state.pt").exists():
        for tensor in state(out)["networks"]["avsyncnet"].values():
            assert tensor.isfinite().all()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--set", "raet=1"), 6, "unknown key 'raet': did you mean 'rate'?"),
        (("--set", "rate"), 6, "'rate' does not set anything"),
        (("--set", "loss=bce"), 6, "needs network.rectified = true"),
        (("--silent-lip", "x.safetensors"), 6, "--silent-lip has no meaning here: stage avsyncnet"),
        (
            ("--set", 'corpus.validation_speakers=["zoe"]'),
            7,
            "the cache has no speaker zoe: it has a, b, c, d, e",
        ),
        (("--precision", "fp16"), 6, "fp16 is not offered for training"),
        (("--config", "no/such.toml"), 6, "no/such.toml: cannot read the settings"),
    ],
)
def test_wrong_settings_end_with_one_line_and_nothing_written(
    cache, toml, tmp_path, capsys, more, code, message
):
    out = tmp_path / "run"
    assert run(*arguments("avsyncnet", cache, out, toml(SYNC), *more)) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_is_no_cache_is_refused(tmp_path, toml, capsys):
    assert run(*arguments("avsyncnet", tmp_path, tmp_path / "run", toml(SYNC))) == 7
    assert "is not a cache: make one with 'lipsync prepare" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["gs", "gl"])
def test_a_cache_of_another_size_than_the_generator_draws_is_refused(cache, tmp_path, capsys, stage):
    assert run(*arguments(stage, cache, tmp_path / "run")) == 7
    error = capsys.readouterr().err
    assert "has crops of 32 pixels, but network.image_size is 96" in error
    assert "--image-size 96" in error


def test_a_network_of_another_stage_that_is_missing_or_wrong_is_named(cache, toml, tmp_path, capsys):
    assert run(*arguments("avsyncnet", cache, tmp_path / "sync", toml(SYNC), "--steps", "1")) == 0
    sync = str(tmp_path / "sync" / "avsyncnet.safetensors")
    for given, message in (
        (sync, "a AVSyncNet, not a LipReader: name one with --lip-reader"),
        ("gone.safetensors", "(--lip-reader FILE)"),
    ):
        capsys.readouterr()
        assert run(*arguments("gl", cache, tmp_path / "run", toml(DEFAULT), "--lip-reader", given)) == 5
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["default", "sync", ""])
def test_an_unknown_stage_is_wrong_usage(cache, tmp_path, stage):
    assert run(*arguments(stage, cache, tmp_path / "run")) == 2


def test_a_full_disk_keeps_the_last_save_and_says_so(cache, toml, tmp_path, capsys, full_disk):
    out, config = tmp_path / "run", toml(SYNC)
    assert run(*arguments("avsyncnet", cache, out, config, "--steps", "2")) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".pt", ".safetensors")}
    capsys.readouterr()
    with full_disk(20_000):
        code = run(*arguments("avsyncnet", cache, out, None, "--resume", "--steps", "6"))
    assert code == 7
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"state\.pt: File too large: the run is kept up to its last save", error)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(out.rglob("*.part"))
    assert run(*arguments("avsyncnet", cache, out, None, "--resume", "--steps", "6")) == 0
    assert state(out)["step"] == 6


def test_a_network_of_another_architecture_is_refused(cache, toml, tmp_path, capsys):
    assert run(*arguments("lip_reader", cache, tmp_path / "reader", toml(READER, "reader.toml"))) == 0
    capsys.readouterr()
    wrong = "--avsyncnet", str(tmp_path / "reader" / "lip_reader.safetensors")
    assert run(*arguments("gs", cache, tmp_path / "run", toml(PAPER.format(sync=0)), *wrong)) == 5
    assert "a LipReader, not a AVSyncNet: name one with --avsyncnet" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_moving_average_and_clipped_gradients_are_settings(cache, toml, tmp_path):
    assert run(*arguments("avsyncnet", cache, tmp_path / "sync", toml(SYNC), "--steps", "1")) == 0
    sync = "--avsyncnet", str(tmp_path / "sync" / "avsyncnet.safetensors")
    more = "--set", "average=0.9", "--set", "clip=0.1", "--set", "loop.tensorboard=true"
    out = tmp_path / "run"
    assert run(*arguments("gs", cache, out, toml(PAPER.format(sync=0)), *sync, *more)) == 0
    kept = state(out)["networks"]
    saved = load_network(out / "silent_lip.safetensors").state_dict()
    for name in ("fuse.1.weight", "head.3.bias"):
        assert torch.equal(saved[name], kept["average"][name])
        assert not torch.equal(saved[name], kept["generator"][name])
    assert list((out / "tensorboard").iterdir())


OTHER_SETTINGS = {
    "sample_rate": (22050, 16000),
    "frames_per_second": (30, 25),
    "mel_hop": (160, 200),
    "mel_window": (1024, 800),
    "mel_bins": (64, 80),
    "mel_lowest": (0.0, 55.0),
    "mel_highest": (8000.0, 7600.0),
    "mel_pre_emphasis": (0.0, 0.97),
    "embedding_hop": (200, 160),
    "embedding_window": (400, 512),
    "embedding_bins": (40, 32),
    "crop_top_margin": (0.0, 0.12),
    "crop_chin_margin": (0.2, 0.08),
    "crop_smoothing": (1, 7),
    "crop_centre": ("edges", "features"),
    "version": (2, 1),
}


def test_every_setting_of_a_cache_is_tried_here():
    assert {field.name for field in fields(CacheSettings)} == {*OTHER_SETTINGS, "image_size", "offsets"}


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_a_cache_with_other_mels_or_crops_is_refused(cache, toml, tmp_path, capsys, name):
    file = cache / "cache.json"
    there, here = OTHER_SETTINGS[name]
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: there}))
    assert run(*arguments("avsyncnet", cache, tmp_path / "run", toml(SYNC))) == 7
    error = capsys.readouterr().err
    assert (
        f"{cache} was made with {name} {there} (here {here}): networks here see and hear otherwise" in error
    )
    assert "prepare into a new folder" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_cache_of_an_older_version_says_less_and_is_taken_for_what_it_is(cache, toml, tmp_path):
    file = cache / "cache.json"
    file.write_text('{"image_size": 32, "sample_rate": 16000, "crop_centre": "features", "version": 1}')
    assert (
        run(*arguments("avsyncnet", cache, tmp_path / "run", toml(SYNC.replace("steps = 40", "steps = 3"))))
        == 0
    )


def test_a_cache_from_before_crops_were_centred_on_the_features_is_refused(cache, toml, tmp_path, capsys):
    (cache / "cache.json").write_text('{"image_size": 32, "sample_rate": 16000, "version": 1}')
    assert run(*arguments("avsyncnet", cache, tmp_path / "run", toml(SYNC))) == 7
    assert "made with crop_centre edges (here features)" in capsys.readouterr().err
