"""What the verbs of ``percert eval`` that read attack runs have in common."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain
from percert.cli.options import writable_folder
from percert.cli.output import emit_json
from percert.cli.progress import counting_bar

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.read import AttackRuns
    from percert.runs import RecordedMetric

RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders that [bold]percert attack[/bold] wrote."),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR|FILE",
        help="The images that were attacked; where they were then, if not given.",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        callback=writable_folder,
        metavar="DIR",
        help="Where report.html, its figures, records.parquet and run.json go. What was measured "
        "there before is not measured again.",
    ),
]
PicturesOption = Annotated[
    int, typer.Option("--pictures", metavar="N", min=0, help="So many images to look at.")
]


def open_runs(folders: list[Path], images: Path | None) -> "tuple[AttackRuns, Path]":
    """The runs, and where the images are that they attacked."""
    from percert.evaluation.attack_runs.read import read_attack_runs

    runs = read_attack_runs(folders)
    originals = images or runs.images
    if originals is None:
        raise ValueError("--images: needed, for the runs do not say what images they attacked")
    return runs, originals


def parse_costs(
    text: str, runs: "AttackRuns", device: str
) -> "tuple[list[str], dict[str, RecordedMetric], dict[str, str]]":
    """The distances of a list of names: all of them, those to measure, and with what files."""
    from percert.runs.plan import recorded_metrics

    named = dict(entry.strip().partition("=")[::2] for entry in text.split(",") if entry.strip())
    files = {n: file for n, file in named.items() if file or n not in runs.own_distances}
    asked: dict[str, str | Path | None] = {name: file or None for name, file in files.items()}
    measures = recorded_metrics(asked, device) if asked else {}
    return list(named), {name: m for name, m in measures.items() if name in files}, files


def only_classifiers(runs: "AttackRuns", verb: str) -> None:
    """Raise ``ValueError`` for runs that attacked something else."""
    if runs.goal != "classifier":
        raise ValueError(f"eval {verb}: expected attacks on a classifier, found on {runs.goal}s")


class Evaluation:
    """A folder that an evaluation is written to, as it comes along.

    Raises ``ValueError`` for a folder that holds an evaluation with other ``settings``.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], device: str) -> None:
        from percert.runs import RunFolder

        self.folder = RunFolder(out, settings, device=device, command=["percert", *sys.argv[1:]])

    def finish(self, name: str, answer: Mapping[str, Any], *, as_json: bool) -> None:
        """Write ``answer`` to ``NAME.json``, and to stdout where that was asked for."""
        whole = self.folder.answer(name, answer)
        self.folder.note(finished=True)
        if as_json:
            emit_json(whole)


@contextmanager
def counting(what: str, every: float = 30.0) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that keeps a bar on stderr, or says a line now and then."""
    bar = counting_bar()
    task = bar.add_task(what, total=None)
    said = time.perf_counter()

    def show(done: int, total: int) -> None:
        nonlocal said
        bar.update(task, completed=done, total=total)
        if bar.disable and time.perf_counter() - said > every:
            said = time.perf_counter()
            complain(f"{what}: {done} of {total} images")

    with bar:
        yield show
