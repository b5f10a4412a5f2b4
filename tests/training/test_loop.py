from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from lipsync_cli.errors import DataError, LipsyncError, SettingsError
from lipsync_cli.training import run_folder
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.loop import LoopSettings, Progress, Run, follow, rate_share

ALL = ("syncnet", "avsyncnet", "lip_reader", "lip_predictor", "warping", "gs", "gl")


class Count:
    """A stage that adds up what it draws, and does as it is told at one step."""

    def __init__(
        self, *, fails: int = -1, breaks: int = -1, poisons: int = -1, seed: int = 0, parts: int = 1
    ) -> None:
        torch.manual_seed(seed)
        self.network = nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.1)
        self.compute = Compute()
        self.networks = {"count": self.network}
        self.optimizers = {"count": self.optimizer}
        self.fails, self.breaks, self.poisons = fails, breaks, poisons
        self.drawn: list[int] = []
        self.parts = parts

    def draw(self, step: int) -> int:
        if step == self.fails:
            raise DataError(f"clip of step {step} is damaged")
        self.drawn.append(step)
        return step

    def train(self, batch: int, step: int) -> dict[str, float]:
        assert batch // self.parts == step
        loss = (self.network(torch.full((1, 1), float(batch))) + torch.rand(1)).square().sum()
        self.compute.update(loss, self.optimizer)
        if step == self.poisons:
            self.network.weight.data.fill_(float("nan"))
        return {"square": float("nan") if step == self.breaks else float(loss.detach()), "one": 1.0}

    def validate(self) -> dict[str, float]:
        return {"figure": 0.5}

    def picture(self) -> None:
        return None

    def films(self) -> tuple[()]:
        return ()

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        path = folder / "count.json"
        run_folder.write_bytes(path, json.dumps(dict(facts)).encode())
        return path


def settings(**changes: int) -> LoopSettings:
    return LoopSettings(**{"steps": 6, "save_every": 2, "validate_every": 3, **changes})


def go(
    stage, folder: Path, loop: LoopSettings, *, resume: bool = False, stop: int | None = None
) -> list[Progress]:
    told: list[Progress] = []
    Run(stage, loop, folder).go(
        resume=resume, report=told.append, should_stop=lambda: len(told) > 0 and told[-1].step == stop
    )
    return told


def state(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def assert_same(first: object, second: object, where: str = "state") -> None:
    """Bit by bit."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for i, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where


@pytest.mark.parametrize("name", ALL)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(stages, tmp_path, name):
    loop = stages.build(name).settings.loop
    go(stages.build(name), tmp_path / "whole", loop)
    go(stages.build(name), tmp_path / "halves", loop, stop=3)
    assert state(tmp_path / "halves")["step"] == 3
    told = go(stages.build(name), tmp_path / "halves", loop, resume=True)
    assert [progress.step for progress in told] == [4, 5, 6]
    assert_same(state(tmp_path / "halves"), state(tmp_path / "whole"))


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_over_a_whole_run(stages, tmp_path, name):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        stage = stages.build(name, f"loop.seed={seed}", "loop.steps=2")
        go(stage, tmp_path / folder, stage.settings.loop)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    first, other = state(tmp_path / "a")["networks"], state(tmp_path / "c")["networks"]
    assert any(
        not torch.equal(tensor, other[network][key])
        for network, tensors in first.items()
        for key, tensor in tensors.items()
    )


def test_steps_figures_and_losses_are_told_and_kept(tmp_path):
    told = go(Count(), tmp_path, settings())
    assert [progress.step for progress in told] == [1, 2, 3, 4, 5, 6]
    assert [progress.figures for progress in told] == [None, None, {"figure": 0.5}] * 2
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "step,seconds,square,one,data_ms,draw_ms,forward_ms,backward_ms"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    figures = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert figures == [{"step": 3, "figure": 0.5}, {"step": 6, "figure": 0.5}]
    assert json.loads((tmp_path / "count.json").read_text()) == {"step": 6, "figure": 0.5}


def test_what_was_logged_after_the_last_save_is_not_logged_twice(tmp_path):
    with pytest.raises(DataError):
        go(Count(fails=5), tmp_path, settings(validate_every=5))
    with (tmp_path / "log.csv").open("a") as log:
        log.write("6,1")  # cut short
    go(Count(), tmp_path, settings(validate_every=5), resume=True)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3", "4", "5", "6"]
    figures = (tmp_path / "figures.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in figures] == [5, 6]


def test_the_seconds_of_a_run_go_on(tmp_path):
    go(Count(), tmp_path, settings(), stop=3)
    log = tmp_path / "log.csv"
    log.write_text(re.sub(r"\n3,[\d.]+", "\n3,90.00", log.read_text()))
    go(Count(), tmp_path, settings(), resume=True)
    assert float(log.read_text().splitlines()[-1].split(",")[1]) >= 90


@pytest.mark.parametrize("step", [0, 1, 4])
def test_an_error_of_drawing_reaches_the_caller_at_its_step_and_the_thread_is_gone(tmp_path, step):
    before = threading.active_count()
    told: list[Progress] = []
    with pytest.raises(DataError, match=f"clip of step {step} is damaged"):
        Run(Count(fails=step), settings(), tmp_path).go(resume=False, report=told.append)
    assert len(told) == step
    assert threading.active_count() == before


def test_batches_are_drawn_in_order_and_no_further_than_the_last_step(tmp_path):
    stage = Count()
    go(stage, tmp_path, settings(steps=9))
    assert stage.drawn == list(range(9))


def test_after_a_stop_no_thread_goes_on_drawing(tmp_path):
    before = threading.active_count()
    stage = Count()
    go(stage, tmp_path, settings(steps=1000), stop=2)
    assert threading.active_count() == before
    assert len(stage.drawn) < 10


def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_state_stays(tmp_path):
    with pytest.raises(
        LipsyncError, match="loss 'square' is not a number at step 5; the state of the last save"
    ):
        go(Count(breaks=4), tmp_path, settings())
    kept = state(tmp_path)
    assert kept["step"] == 4
    assert all(tensor.isfinite().all() for tensor in kept["networks"]["count"].values())


def test_weights_that_are_no_numbers_are_not_saved_over_good_ones(tmp_path):
    """The loss of a step is known before its update: the update itself may be what breaks."""
    with pytest.raises(LipsyncError, match=r"weights \(count\.weight\) are not numbers at step 4"):
        go(Count(poisons=3), tmp_path, settings())
    assert state(tmp_path)["step"] == 2


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    go(Count(), tmp_path, settings())
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(DataError, match="holds a run already: add --resume to go on"):
        go(Count(seed=1), tmp_path, settings())
    assert (tmp_path / "state.pt").read_bytes() == before


def test_a_finished_run_that_goes_on_does_nothing(tmp_path):
    go(Count(), tmp_path, settings())
    assert go(Count(), tmp_path, settings(), resume=True) == []


def test_a_state_of_another_network_is_refused(tmp_path, stages):
    stage = stages.build("lip_reader", "loop.steps=1")
    go(stage, tmp_path, stage.settings.loop)
    with pytest.raises(DataError, match="holds a run of another network"):
        go(stages.build("avsyncnet"), tmp_path, settings(), resume=True)
    with pytest.raises(DataError, match=r"another network.*blocks\.0"):
        go(stages.build("lip_reader", "network.widths=[6, 6, 8, 10]"), tmp_path, settings(), resume=True)


def test_a_state_that_was_cut_short_is_refused(tmp_path):
    go(Count(), tmp_path, settings())
    path = tmp_path / "state.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"state\.pt: damaged"):
        go(Count(), tmp_path, settings(), resume=True)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/run: .*Not a directory"):
        go(Count(), tmp_path / "file" / "run", settings())


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path):
    go(Count(), tmp_path, settings(), stop=2)
    before = (tmp_path / "state.pt").read_bytes()
    (tmp_path / ".state.pt.part").mkdir()  # in the way
    with pytest.raises(DataError, match=r"state\.pt: .*the run is kept up to its last save"):
        go(Count(), tmp_path, settings(), resume=True)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_the_rate_rises_over_the_warm_up_and_falls_along_half_a_cosine():
    loop = LoopSettings(steps=110, warm_up=10)
    assert [rate_share(step, loop) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert rate_share(10, loop) == 1.0
    assert rate_share(60, loop) == pytest.approx(0.5)
    assert rate_share(85, loop) == pytest.approx(0.5 * (1 - 2**-0.5))
    assert rate_share(109, loop) == pytest.approx(0, abs=1e-3)


def test_a_constant_rate_stays_after_the_warm_up():
    loop = LoopSettings(steps=100, warm_up=0, schedule="constant")
    assert {rate_share(step, loop) for step in range(100)} == {1.0}


def test_a_moving_average_follows_weights_and_copies_statistics():
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    network.weight.data.fill_(3.0)
    network.running_mean.fill_(5.0)
    network.num_batches_tracked.fill_(7)
    follow(average, network, 0.75)
    assert average.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 3)
    assert average.running_mean.item() == 5
    assert average.num_batches_tracked.item() == 7


def test_parts_of_a_step_are_averaged_and_numbered_on(tmp_path):
    """Two parts a step see the batches of twice as many steps, and weights change once for both."""
    stage = Count(parts=2)
    before = stage.network.weight.item()
    told = go(stage, tmp_path, settings(steps=3, accumulate=2, save_every=3))
    assert stage.drawn == [0, 1, 2, 3, 4, 5]
    assert stage.optimizer.state_dict()["state"][0]["step"] == 3
    assert [progress.step for progress in told] == [1, 2, 3]
    by_hand = Count()
    losses = []
    for number in (0, 1):
        torch.manual_seed(number)
        loss = (by_hand.network(torch.full((1, 1), float(number))) + torch.rand(1)).square().sum()
        (loss / 2).backward()
        losses.append(loss.item())
    assert told[0].losses["square"] == pytest.approx(sum(losses) / 2)
    by_hand.optimizer.step()
    assert by_hand.network.weight.item() != before
    one = Count(parts=2)
    go(one, tmp_path / "one", settings(steps=1, accumulate=2))
    assert one.network.weight.item() == by_hand.network.weight.item()


def test_a_run_with_parts_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    loop = settings(accumulate=3)
    go(Count(parts=3), tmp_path / "whole", loop)
    go(Count(parts=3), tmp_path / "halves", loop, stop=2)
    go(Count(parts=3), tmp_path / "halves", loop, resume=True)
    assert_same(state(tmp_path / "halves"), state(tmp_path / "whole"))


def test_the_last_checkpoints_are_kept_and_those_with_the_best_figures(tmp_path):
    stage = Count()
    figures = iter(({"sync": 0.1, "lmd": 3.0}, {"sync": 0.3, "lmd": 2.0}, {"sync": 0.2, "lmd": float("inf")}))
    stage.validate = lambda: next(figures)
    go(stage, tmp_path, settings(steps=6, save_every=1, validate_every=2, keep_last=2))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000005.count.json", "step-00000006.count.json"]
    assert json.loads((tmp_path / "checkpoints" / kept[0]).read_text())["step"] == 5
    for name in ("sync", "lmd"):
        best = json.loads((tmp_path / "best" / name / "count.json").read_text())
        assert (best["step"], best["sync"], best["lmd"]) == (4, 0.3, 2.0)


def test_a_best_figure_counts_after_the_run_was_resumed(tmp_path):
    for figure, resume in ((0.5, False), (0.4, True), (0.6, True)):
        stage = Count()
        stage.validate = lambda figure=figure: {"sync": figure}
        done = 2 if not resume else state(tmp_path)["step"] + 2
        go(stage, tmp_path, settings(steps=done, validate_every=2), resume=resume)
        best = json.loads((tmp_path / "best" / "sync" / "count.json").read_text())
        assert best["sync"] == max(0.5, figure)


def test_no_checkpoints_are_kept_beside_the_newest_where_none_are_asked_for(tmp_path):
    go(Count(), tmp_path, settings(keep_last=0))
    assert not (tmp_path / "checkpoints").exists()


def test_the_time_of_a_step_is_told_in_its_parts(tmp_path):
    stage = Count()
    draw, train = stage.draw, stage.train
    stage.draw = lambda number: (time.sleep(0.05), draw(number))[1]
    stage.train = lambda batch, step: (time.sleep(0.02), train(batch, step))[1]
    told = go(stage, tmp_path, settings(steps=8))
    times = [progress.times for progress in told]
    assert all(one.forward >= 0.02 for one in times)
    assert all(one.backward > 0 for one in times)
    assert times[0].data >= 0.05  # it waits for the first batch
    assert one_row(tmp_path)["forward_ms"] == pytest.approx(1000 * times[-1].forward, rel=1e-3)


def one_row(folder: Path) -> dict[str, float]:
    head, *rows = (folder / "log.csv").read_text().splitlines()
    return dict(zip(head.split(","), map(float, rows[-1].split(",")), strict=True))


def test_a_log_of_an_older_version_is_gone_on_with_in_its_own_columns(tmp_path):
    (tmp_path / "log.csv").write_text("step,seconds,one,square\n")
    run_folder.log(tmp_path, 1, 2.0, {"square": 4.0, "one": 1.0, "data_ms": 3.0})
    assert one_row(tmp_path) == {"step": 1, "seconds": 2, "one": 1, "square": 4}


def test_remarks_on_losses_are_told(tmp_path):
    told: list[Progress] = []
    watch = lambda losses: "odd" if len(told) == 2 else None  # noqa: E731
    Run(Count(), settings(), tmp_path, watch).go(resume=False, report=told.append)
    assert [progress.remark for progress in told] == [None, None, "odd", None, None, None]


@pytest.mark.parametrize(
    "change",
    [
        {"accumulate": 0},
        {"steps": 0},
        {"save_every": 0},
        {"validate_every": 0},
        {"warm_up": -1},
        {"seed": -1},
        {"keep_last": -1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(change):
    with pytest.raises(SettingsError, match=f"loop.{next(iter(change))} must be at least"):
        LoopSettings(**change)
