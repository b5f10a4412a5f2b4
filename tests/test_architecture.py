"""The shape of the code: who may import whom, and the limits that keep files readable."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lipsync_cli"

BASE = {"interfaces", "pictures", "regions", "errors", "device", "processor", "settings"}
BASE |= {"nameless_file", "whole_file"}
NETWORKS_AND_MEDIA = {"models", "faces", "speech", "media"}
MATERIAL = {"data", "losses", "metrics", "registry"}
JOBS = {"dubbing", "training", "evaluation"}

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "interfaces": {"errors"},
    "pictures": {"errors", "interfaces"},
    "regions": {"errors"},
    "device": {"errors", "processor"},
    "processor": set(),
    "settings": {"errors"},
    "memory": set(),
    "nameless_file": {"errors"},
    "whole_file": set(),
    "interpreter": set(),
    "media": BASE,
    "speech": BASE,
    "faces": BASE,
    "models": BASE,
    "losses": BASE,
    "metrics": BASE,
    "registry": BASE | {"models"},
    "data": BASE | {"media", "speech", "faces"},
    "dubbing": BASE | {"media", "speech", "faces"},
    "training": BASE | {"data", "models", "losses", "registry", "speech"},
    "evaluation": BASE | {"data", "metrics", "media", "speech", "faces"},
    "assembly": BASE
    | NETWORKS_AND_MEDIA
    | MATERIAL
    | JOBS
    | {"assembly_networks", "assembly_speakers", "assembly_speech", "assembly_output"},
    "assembly_output": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS | {"assembly_speakers"},
    "assembly_preparation": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS,
    "assembly_speakers": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS,
    "assembly_speech": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS | {"assembly_networks"},
    "assembly_networks": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS,
    "assembly_evaluation": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS | {"assembly", "assembly_networks"},
    "assembly_judging": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS | {"assembly_networks"},
    "assembly_training": BASE | NETWORKS_AND_MEDIA | MATERIAL | JOBS | {"assembly_judging"},
    "cli": {"assembly", "assembly_evaluation", "assembly_networks", "assembly_preparation"}
    | {"assembly_training", "registry", "errors", "settings", "memory", "interpreter"}
    | JOBS,
}
"""Part of the package -> the other parts that it may import, at the top of a file or inside a function."""

FILE_LINES = 320
FUNCTION_LINES = 40
POSITIONAL_PARAMETERS = 5
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
TOP_LEVEL = {"lipsync_cli", "weights", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}
HEAVY = {"torch", "numpy", "cv2", "av", "librosa", "soundfile", "safetensors", "scipy", "rich.progress"}

FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def part_of(path: Path) -> str:
    """The folder or file directly under lipsync_cli that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(part of lipsync_cli, line) of every import anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "lipsync_cli" and rest and not rest.startswith("__version__"):
                yield rest.partition(".")[0], node.lineno


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Lines of its body but for the docstring: what is explained at length may be."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def positional_parameters(function: Function) -> int:
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@each_file
def test_parts_import_only_what_the_table_allows(path: Path) -> None:
    part = part_of(path)
    assert part in MAY_IMPORT, f"{part} has no row in MAY_IMPORT"
    allowed = MAY_IMPORT[part] | {part}
    wrong = [f"line {line}: {name}" for name, line in imported_parts(parse(path)) if name not in allowed]
    assert not wrong, f"{part} may not import {wrong}"


def test_imports_inside_functions_are_seen() -> None:
    tree = ast.parse(
        "import lipsync_cli.media.probe\n"
        "from lipsync_cli import errors, __version__\n"
        "def f():\n    from lipsync_cli.models.blocks import Block\n"
    )
    assert {part for part, _ in imported_parts(tree)} == {"media", "errors", "models"}


@each_file
def test_imports_are_absolute(path: Path) -> None:
    lines = [n.lineno for n in ast.walk(parse(path)) if isinstance(n, ast.ImportFrom) and n.level > 0]
    assert not lines


@each_file
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    long = [f.name for f in functions(parse(path)) if lines_of(f) > FUNCTION_LINES]
    assert not long


@each_file
def test_functions_take_few_positional_parameters(path: Path) -> None:
    if part_of(path) == "cli":
        return  # each option of a command is an argument
    wide = [f.name for f in functions(parse(path)) if positional_parameters(f) > POSITIONAL_PARAMETERS]
    assert not wide


@each_file
def test_files_are_named_after_what_they_do(path: Path) -> None:
    assert not VAGUE_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts)


def test_init_files_are_empty_but_for_the_version() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        statements = [node for node in parse(path).body if not isinstance(node, ast.Expr)]
        if path.parent == PACKAGE:
            assert [ast.unparse(node).partition(" =")[0] for node in statements] == ["__version__"]
        else:
            assert path.read_text(encoding="utf-8") == "", path


@each_file
def test_only_the_command_line_prints(path: Path) -> None:
    if part_of(path) != "cli":
        assert "print" not in calls(path)


@each_file
def test_user_input_is_never_checked_by_assert(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]


@each_file
def test_no_shell_is_used(path: Path) -> None:
    keywords = [
        node for node in ast.walk(parse(path)) if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert not [node.lineno for node in keywords]
    assert not calls(path) & {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


@each_file
def test_no_handler_swallows_every_error(path: Path) -> None:
    """`except BaseException` may only clean up and raise again, or hand the error to another thread."""
    for handler in (node for node in ast.walk(parse(path)) if isinstance(node, ast.ExceptHandler)):
        caught = names_in(handler.type) if handler.type is not None else {"Exception"}
        passed_on = ast.unparse(handler.body[-1]) == "raise" or handler.name in names_in(*handler.body)
        assert "Exception" not in caught, f"line {handler.lineno}"
        assert "BaseException" not in caught or passed_on, f"line {handler.lineno}"


@each_file
def test_no_pickle_is_loaded_with_code(path: Path) -> None:
    """torch.load only with weights_only=True, and no other way to run a pickle."""
    assert not calls(path) & {"pickle.load", "pickle.loads"}
    loads = [
        n for n in ast.walk(parse(path)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.load"
    ]
    assert all("weights_only=True" in ast.unparse(load) for load in loads)


@each_file
def test_only_device_asks_what_the_machine_has(path: Path) -> None:
    asked = {
        call for call in calls(path) if call.startswith(("torch.cuda.is_", "torch.backends.", "torch.cpu._"))
    }
    assert part_of(path) == "device" or not asked


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    script = "import sys; from lipsync_cli.cli.app import build_app; build_app(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())


def test_a_video_can_be_watched_without_torch() -> None:
    """Loading it takes longer than all else before the first frame, and is done meanwhile."""
    needed = ("assembly", "assembly_output", "assembly_speakers", "dubbing.pipeline", "dubbing.work_folder")
    needed += ("faces.detector", "faces.landmarks", "media.audio", "media.chunks", "media.reader")
    script = f"import sys; import lipsync_cli.{', lipsync_cli.'.join(needed)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "torch" not in done.stdout.split()


def test_the_top_level_of_the_repository_holds_nothing_else() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the repository cannot be told")
    command = [git, "-c", "safe.directory=*", "ls-files"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {line.partition("/")[0] for line in done.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def calls(path: Path) -> set[str]:
    """The dotted names of everything that a file calls."""
    return {ast.unparse(node.func) for node in ast.walk(parse(path)) if isinstance(node, ast.Call)}


def names_in(*nodes: ast.AST) -> set[str]:
    return {node.id for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name)}
