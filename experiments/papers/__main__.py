"""The papers' tables and figures, made again beside the numbers that they print."""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from experiments.papers import CATALOG, PaperItem, PaperOutcome, Setting, find_item, run_item
from experiments.papers.estimate import recorded, say_estimate
from experiments.papers.item import COMMAND, AutoAttackKind
from experiments.papers.page import page
from experiments.papers.report import (
    answer,
    compared_table,
    counted,
    describe,
    made_of,
    needs_paragraph,
    outcome_section,
    recorded_words,
    stands_table,
    summary_table,
)
from experiments.papers.run import kept_outcome, with_what_takes_more, write_rows
from percert.cli.command import complain, flowing, needs, one_line_errors
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption, writable_folder
from percert.cli.output import emit_json, say, show_table
from percert.cli.progress import Bar
from percert.device import resolve_device
from percert.files import write_whole
from percert.reports import read_run, write_run
from percert.reports.page import Section, how_made, write_page
from percert.reports.table import Column, Table

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)


@one_line_errors
@needs(given={"out": "report"}, sometimes=("fairness", "saliency"))
def papers(
    name: Annotated[
        str,
        typer.Argument(
            metavar="list|NAME|lipsim|hpot|all",
            help="[bold]list[/bold] what there is, make one table or figure, those of one paper, "
            "or [bold]all[/bold] that the data allow.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="PERCERT_DATA",
            help="The folder with imagenet-compatible/, mnist/, night/, retrieval/, weights/ and "
            "so on, as far as they are there; [bold]papers NAME[/bold] says what it takes.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="SqueezeNet 1.0's weights, squeezenet1_0-imagenet.safetensors. If not given, they "
            "are looked for in the data folder and in weights/ beside it.",
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            "--images",
            min=1,
            help="So many photographs are attacked, and of triplets 3 times as many; of digits 10 "
            "times, of photographs that are only classified 25 times as many.",
        ),
    ] = 4,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="Where report.html, reproduce.md, reproduce.json, records.parquet, run.json and a "
            "folder for each item go. What is there already is not made again.",
        ),
    ] = Path("out/reproduce"),
    seed: Annotated[int, typer.Option("--seed", help="Where random numbers start.")] = 0,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="LipSim's tables under what its authors ran as AutoAttack: its first part alone, "
            "APGD-CE, with all its 100 steps.",
        ),
    ] = False,
    standard_aa: Annotated[
        bool,
        typer.Option(
            "--standard-aa",
            help="LipSim's tables under all four parts of AutoAttack with their own steps: hours "
            "on a CPU.",
        ),
    ] = False,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make the papers' tables and figures again, and put their numbers beside the measured ones.

    Every table and figure of LipSim and of Human Imperceptible Attacks has a name. What the data
    allow is made, and says what stands for what of the paper's. Of the others it is said what to
    download and where to put it. Before it starts it says how long that may take; a run that was
    stopped goes on. The exit status is 1 where something that should have been made was not.

    [bold]Examples[/bold]

    python -m experiments papers list

    python -m experiments papers hpot-section4

    python -m experiments papers all --data data/ --images 20

    python -m experiments papers lipsim-table1 --data data/ --images 1000 --thorough --device cuda
    """
    if name == "list":
        _list(list(CATALOG.values()), as_json)
        return
    if data is not None and not data.is_dir():
        raise typer.BadParameter(f"the folder {data} does not exist", param_hint="--data")
    items = [item for item in CATALOG.values() if name in ("all", item.paper)]
    items = items or [find_item(name)]
    place = str(resolve_device(device))
    if thorough and standard_aa:
        raise typer.BadParameter(
            "it is either what the authors ran or all of AutoAttack",
            param_hint="--thorough, --standard-aa",
        )
    autoattack: AutoAttackKind = "standard" if standard_aa else "authors" if thorough else "short"
    setting = Setting(out, data, weights, images, seed, place, autoattack)
    say_estimate(items, setting)
    outcomes = _make(items, setting)
    if as_json:
        emit_json({"out": str(out), "items": [answer(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            _show(outcome)
        if any(outcome.findings is not None for outcome in outcomes):
            say("")
            say(f"Tables and figures are in {out / 'report.html'}")
    wrong = [o for o in outcomes if o.state in ("failed", "data missing")]
    for outcome in wrong:
        complain(f"{outcome.item.name}: {outcome.reason}")
    if wrong or (len(items) == 1 and outcomes[0].findings is None):
        raise typer.Exit(1)


def _make(items: list[PaperItem], setting: Setting) -> list[PaperOutcome]:
    """Make ``items``, and after each write everything that there is so far."""
    began = time.perf_counter()
    outcomes: list[PaperOutcome] = []
    for place, item in enumerate(items, 1):
        with Bar(f"{item.name} ({place} of {len(items)})" if items[1:] else item.name) as watch:
            told = replace(setting, watch=watch)
            outcomes.append(run_item(item, told, command=[*COMMAND, *sys.argv[1:]]))
        if outcomes[-1].state == "made":
            _write(outcomes, setting, time.perf_counter() - began, finished=False)
    if any(outcome.findings is not None for outcome in outcomes):
        _write(outcomes, setting, time.perf_counter() - began, finished=True)
    return outcomes


def _write(
    outcomes: Sequence[PaperOutcome], setting: Setting, seconds: float, *, finished: bool
) -> None:
    out = setting.out
    write_run(
        out,
        command=[*COMMAND, *sys.argv[1:]],
        settings={
            "images": setting.images,
            "autoattack": setting.autoattack,
            "data": setting.data and os.path.abspath(setting.data),
        },
        seed=setting.seed,
        device=setting.device,
        seconds=seconds,
        finished=finished,
    )
    record = read_run(out) or {}
    made_now = {outcome.item.name: outcome for outcome in outcomes}
    # What earlier commands left in the folder is on its page as well.
    everything = [made_now.get(item.name) or kept_outcome(item, out) for item in CATALOG.values()]
    outcomes = with_what_takes_more([outcome for outcome in everything if outcome is not None])
    write_rows(out / "records.parquet", outcomes)
    found = {
        "images": setting.images,
        "autoattack": setting.autoattack,
        "run": {name: record[name] for name in _TOLD if name in record},
        "items": [answer(outcome) for outcome in outcomes],
    }
    write_whole(out / "reproduce.json", (json.dumps(found, indent=1) + "\n").encode())
    write_whole(out / "reproduce.md", page(found).encode())
    made = [outcome for outcome in outcomes if outcome.item.run]
    sections = [outcome_section(outcome) for outcome in made]
    if len(outcomes) > 1:
        sections.insert(0, Section("All tables and figures", (summary_table(outcomes),)))
    lead = f"{counted(outcomes)} " + (
        "The papers' numbers beside those measured here. A stand-in is of other networks, images "
        "or attacks than the paper's, and says which: its numbers have no deviation from them."
    )
    write_page(
        out / "report.html",
        "The papers' tables and figures",
        [*sections, how_made(record)],
        lead=lead,
    )


#: What the page says of a run; its settings have paths of the machine.
_TOLD = ("command", "seed", "device", "seconds", "written", "versions", "commit", "finished")


def _list(items: list[PaperItem], as_json: bool) -> None:
    if as_json:
        emit_json({"items": [describe(item) for item in items]})
        return
    last = {entry["name"]: recorded_words(entry) for entry in recorded()["items"]}
    columns: list[Column[PaperItem]] = [
        Column("name", lambda item: item.name),
        Column("can be made", lambda item: item.state),
        Column("last made", lambda item: last.get(item.name)),
        Column("what", lambda item: item.title),
    ]
    show_table(Table.of(items, columns))
    say("")
    say(
        f"offline: from small data, with what percert comes with; {' '.join(COMMAND)} NAME says "
        "what the paper's own version takes. Last made: as docs/results/reproduce.md has it."
    )


def _show(outcome: PaperOutcome) -> None:
    item = outcome.item
    say("")
    say(f"{item.name}: {item.title}", style="bold")
    if outcome.findings is None:
        if outcome.reason != item.how:
            say(f"Not made: {outcome.reason}.")
        for line in needs_paragraph(item).text.splitlines():
            say(line)
        return
    say(f"{made_of(item, outcome.findings)} Made in {outcome.seconds:.0f} s.")
    if outcome.findings.stands:
        show_table(stands_table(outcome.findings))
    if outcome.findings.rows:
        show_table(compared_table(outcome.findings))
    for said in outcome.findings.differs:
        say(f"- {said}")


app.command(
    help=flowing(papers.__doc__),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)(papers)


def main() -> None:
    """Run the command line."""
    app(prog_name=" ".join(COMMAND))


if __name__ == "__main__":
    main()
