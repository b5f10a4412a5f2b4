"""`lipsync eval`: measures finished videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lipsync_cli import assembly_evaluation
from lipsync_cli.cli.evaluate_run import EvalOptions, measure

LseShown = Literal["lrs", "tracks"]
Restore = Literal["none", "light", "vqfr", "gfpgan", "gpen"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("eval")(evaluate)


def evaluate(
    *,
    generated: Annotated[
        Path | None,
        typer.Option(help="Folder of finished videos, by any method; needs --reference.", readable=False),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Folder of the real videos; pairs have the same file stem.", readable=False),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="One video by itself: AV offset, confidence, second by second.", readable=False),
    ] = None,
    dataset: Annotated[
        assembly_evaluation.CorpusName | None,
        typer.Option(help="Dub a corpus in its official layout and measure that; needs --root."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The corpus's folder.", readable=False)] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="A split of the corpus, or the path of a list of its clips. grid: test is LipNet's unseen"
            " speakers s1, s2, s20 and s22, train all others, or speakers such as s10,s23,s25,s30 (those that"
            " the shipped networks never saw)."
        ),
    ] = None,
    unpaired: Annotated[
        Path | None,
        typer.Option(help="A public list of 'SPEECH VIDEO' lines in place of own speech.", readable=False),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Networks that dub a corpus, as for lipsync dub --model.")
    ] = "default",
    restore: Annotated[Restore, typer.Option(help="As for lipsync dub --restore.")] = "none",
    baseline: Annotated[
        assembly_evaluation.Baseline | None,
        typer.Option(
            help="In place of a model: the 'real' videos, a 'static' closed frame with the real sound, or the"
            " real pictures with 'shuffled' sound."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many clips, evenly over the corpus.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the videos that are made (and kept); default: in the cache.", readable=False
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another method on the same clips, a folder of videos or its --json: paired differences.",
            readable=False,
        ),
    ] = None,
    stability: Annotated[
        bool, typer.Option("--stability", help="Figure 1 of the paper, on --reference or --dataset.")
    ] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Figure 6 of the paper, on --reference or --dataset.")
    ] = False,
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            help="Sync networks of --stability and --robustness, names or files (also of SyncNet v2 and"
            " SyncNet_color); may be repeated.",
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the plots of --stability and --robustness; default: the current one.",
            readable=False,
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write all figures of all clips to this file.", readable=False)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row a clip to this file.", readable=False)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with plots and the worst and best clips to this folder.", readable=False
        ),
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option(help="Write each clip's mouth openings to CSV files in this folder.", readable=False),
    ] = None,
    own_offset: Annotated[
        str,
        typer.Option(
            help="AV offset of the real videos in frames at 25 fps (the picture at t matches the sound at"
            " t + offset): a number, 'measured', or a TOML file of stem = number."
        ),
    ] = "0",
    sync_network: Annotated[
        str, typer.Option(help="The network that finds AV offsets: a name, a file, 'default' or 'none'.")
    ] = "default",
    syncnet_v2: Annotated[
        str | None,
        typer.Option(help="Your file of the public SyncNet v2 (or its name): adds LSE-C and LSE-D."),
    ] = None,
    inception: Annotated[
        str | None, typer.Option(help="Your file of the public Inception of FID (or its name): adds FID.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(help="Your file of OpenCV's SFace (or its name): adds the similarity of the person."),
    ] = None,
    lse_protocol: Annotated[
        LseShown, typer.Option(help="What SyncNet v2 is shown: whole frames, or crops of the face.")
    ] = "lrs",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that measure side by side.")] = 1,
    paper: Annotated[
        bool, typer.Option("--paper", help="Print tables 1 and 2 of the paper as well.")
    ] = False,
) -> None:
    """Measure finished videos: pictures, mouth openings, and how well lips and sound fit.

    Either --generated and --reference, or --dataset, or --video. Clips that cannot be measured are listed
    with their reason and counted; the command fails (7) when that is all of them. With --json, a run that was
    stopped goes on where it was.
    """
    chosen = EvalOptions(**locals())
    _check_choice(chosen)
    from lipsync_cli.evaluation import report

    for path in (json, csv):
        if path is not None:
            report.check_writable(path)
    if stability or robustness:
        from lipsync_cli.cli.evaluate_networks import analyse

        analyse(chosen)
    else:
        measure(chosen)


_OF_A_DATASET = ("root", "split", "unpaired", "baseline", "limit", "work")
_OF_MEASURING = ("csv", "html", "series", "against", "unpaired", "baseline")


def _check_choice(chosen: EvalOptions) -> None:
    """Which kind of run this is, and whether what it needs is there and nothing that it has no use for."""
    is_folders = chosen.generated is not None and chosen.reference is not None
    if chosen.stability or chosen.robustness:
        if (chosen.dataset is None) == (chosen.reference is None) or chosen.generated or chosen.video:
            raise typer.BadParameter("--stability and --robustness look at either --reference or --dataset")
        _refuse(chosen, _OF_MEASURING, "does not go with --stability and --robustness")
    elif is_folders + (chosen.dataset is not None) + (chosen.video is not None) != 1 or (
        not is_folders and (chosen.generated is not None or chosen.reference is not None)
    ):
        raise typer.BadParameter("give either --generated and --reference, or --dataset, or --video")
    else:
        _refuse(chosen, ("plots", "networks"), "goes with --stability and --robustness")
    if chosen.video is not None:
        _refuse(chosen, ("against",), "goes with two folders or --dataset")
    if chosen.dataset is None:
        _refuse(chosen, _OF_A_DATASET, "goes with --dataset")
    elif chosen.root is None:
        raise typer.BadParameter("--dataset needs --root, the folder of the corpus")


def _refuse(chosen: EvalOptions, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(chosen, name):
            raise typer.BadParameter(f"--{name.removesuffix('s') if name == 'networks' else name} {why}")
