"""``percert eval copies``: copy detectors on any pictures: natural, certified and under attack."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.attack_options import SeedOption
from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_copies_inputs import (
    fingerprint,
    make_detectors,
    parse_budgets,
    parse_edits,
    readable,
    weights_of,
)
from percert.cli.eval_runs import Evaluation
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    writable_folder,
)
from percert.cli.output import note_left_out, say, show_table, with_left_out
from percert.cli.progress import stepping

if TYPE_CHECKING:
    from percert.evaluation.copies.evaluate import DetectorResult
    from percert.images import LeftOut

#: Where a run keeps what it has computed until it is done.
PARTS = "parts"
#: Groups of twins that are named on stderr.
SHOWN = 20


@one_line_errors
@needs(given={"out": "report"}, sometimes=("rivals",))
def eval_copies(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Pictures, and folders of them: what is copied."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="Where report.html, copies.json, records.parquet, two figures and run.json go. A "
            "run that was stopped goes on there.",
        ),
    ],
    distractors: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="More pictures of the collection, of which no copies are made."
        ),
    ] = None,
    metric_name: MetricOption = "lipsim-tiny",
    rival: Annotated[
        list[str] | None,
        typer.Option(
            "--rival",
            metavar="NAME[=FILE]",
            help="phash, dhash, whash, pdq, cnn (imagededup), features=SQUEEZENET.safetensors, or "
            "another metric with certificates; may be given several times.",
        ),
    ] = None,
    edits: Annotated[
        str, typer.Option(metavar="usual|hard|all|NAME,...", help="How copies are made.")
    ] = "usual",
    views: Annotated[
        str,
        typer.Option(
            metavar="SET|NAME,...",
            help="Views of every stored picture, as of percert index add: whole, crops, mirror, "
            "all, or a list.",
        ),
    ] = "whole",
    eps: Annotated[
        str,
        typer.Option(
            "--eps",
            metavar="E,...",
            help="l2 budgets; fractions do, and at a --side linf:8/255 and 30dB.",
        ),
    ] = "1,2,4,8,16",
    side: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Budgets are meant for pictures of N x N, and scaled to the same PSNR at other "
            "sizes. 0: as they are, in the pixels of every picture.",
        ),
    ] = 299,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="T|auto[:RATE]|fpr[:RATE]",
            help="Pictures up to this distance are copies. auto chooses it by the collection's own "
            "pictures for a false-positive RATE, with a confidence; fpr, the default, by the "
            "negatives that are evaluated, at 1e-3.",
            show_default=False,
        ),
    ] = None,
    attack: Annotated[
        bool,
        typer.Option(
            "--attack", help="Push copies out of the threshold, and pull strangers into it."
        ),
    ] = False,
    attacked: Annotated[
        int, typer.Option(metavar="N", min=1, help="So many copies, and strangers, are attacked.")
    ] = 40,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps of the attack, at every budget.")
    ] = 20,
    queries: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="At most so many pictures are edited, spread evenly."
        ),
    ] = 300,
    checkpoint: CheckpointOption = None,
    seed: SeedOption = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How many copies are found, how many of them for certain, and how many after an attack?

    Every picture of DIR is edited in many ways (compressed, cut, recoloured, ...); the edited
    pictures are looked for among the originals and the distractors. There are true-positive rates
    at false-positive rates of 1e-2 to 1e-4, and at one threshold the share that is proven to be
    found whatever somebody changes within --eps. With --attack, copies are pushed out, and
    strangers pulled in, as far as projected gradient ascent can; the run itself checks that
    certified <= attacked <= natural. Rivals go through the same. Pictures with the same pixels are
    named: they count as strangers of each other.

    [bold]Examples[/bold]

    percert eval copies photos/ --distractors others/ --rival phash --rival pdq --out out/copies

    percert eval copies photos/ --edits all --views all --attack --eps 1,4,16 --out out/views

    percert eval copies photos/ --threshold auto:1e-4 --out out/auto --json
    """
    from percert.device import resolve_device
    from percert.evaluation.copies.evaluate import COLUMNS, CopiesPlan, QueryRow, evaluate_copies
    from percert.evaluation.copies.gallery import parse_threshold
    from percert.evaluation.copies.measure import Checkpoint, spread
    from percert.evaluation.copies.pictures import PictureFiles, find_twins, twins_sections
    from percert.evaluation.copies.report import attack_figure, copies_sections, roc_figure
    from percert.images.walk import printable_path
    from percert.reports import read_run, write_records
    from percert.reports.page import how_made, write_page, write_whole
    from percert.search.ingest.views import parse_views

    plan = CopiesPlan(
        edits=parse_edits(edits),
        views=parse_views(views),
        budgets=parse_budgets(eps, side),
        side=side,
        threshold=parse_threshold(threshold),
        attacked=attacked if attack else 0,
        steps=steps,
        seed=seed,
    )
    place = str(resolve_device(device))
    detectors = make_detectors(metric_name, checkpoint, rival or [], place)
    left_out: list[LeftOut] = []
    own, bad = readable(images, left_out)
    others, more = readable(distractors or [], left_out)
    if distractors and not (others or more):
        raise ValueError(f"{', '.join(map(str, distractors))}: no images found")
    paths = list(own | others)
    if not own or len(paths) < 2:
        raise ValueError(
            f"{', '.join(map(str, images))}: expected at least 2 images that can be read, found "
            f"{len(paths)}"
        )
    twins = find_twins({**own, **others})
    _warn(twins)
    settings = {
        "eval": "copies",
        "images": fingerprint(list(own)),
        "distractors": fingerprint(paths[len(own) :]),
        "detectors": {one.name: weights_of(one) for one in detectors},
        "edits": [edit.name for edit in plan.edits],
        "views": list(plan.views),
        "eps": list(plan.budgets),
        "side": side,
        "threshold": asdict(plan.threshold),
        "attacked": plan.attacked,
        "steps": steps,
        "queries": queries,
        "seed": seed,
    }
    evaluation = Evaluation(out, settings, place)
    asked = spread(len(own), queries)
    strangers = list(range(len(own), len(paths))) or asked
    rows: list[QueryRow] = []
    with stepping() as show:
        results = evaluate_copies(
            detectors,
            PictureFiles(paths),
            asked,
            strangers,
            plan,
            parts=Checkpoint(out / PARTS),
            progress=show,
            rows=rows.extend,
        )
    write_records(
        out / "records.parquet",
        [{**asdict(row), "query": printable_path(paths[row.query])} for row in rows],
        COLUMNS,
    )
    figures = {"roc.png": roc_figure(results), "eps.png": attack_figure(results)}
    for name, png in figures.items():
        write_whole(out / name, png)
    unread = [{"path": printable_path(path), "reason": reason} for path, reason in (*bad, *more)]
    evaluation.finish(
        "copies",
        {
            "images": len(own),
            "distractors": len(paths) - len(own),
            "queries": len(asked),
            "views": list(plan.views),
            "side": side,
            "checked": "certified <= attacked <= natural for every pair",
            "detectors": [asdict(one) for one in results],
            "twins": [[printable_path(path) for path in group] for group in twins],
            "bad": unread,
            **with_left_out(left_out),
        },
        as_json=as_json,
    )
    write_page(
        out / "report.html",
        "Copies",
        [
            *twins_sections(twins),
            *copies_sections(results, plan, figures["roc.png"], figures["eps.png"]),
            how_made(read_run(out)),
        ],
        lead=f"{len(asked)} pictures under {len(plan.edits)} edits, looked for among "
        f"{len(paths)} pictures in {len(plan.views)} view(s).",
    )
    shutil.rmtree(out / PARTS, ignore_errors=True)
    if not as_json:
        _show(results, out)
    note_left_out(left_out)
    if unread:
        complain(f"{len(unread)} images could not be read:")
        for entry in unread:
            complain(f"  {entry['path']}: {entry['reason']}")
        raise typer.Exit(1)


def _warn(twins: list[list[Path]]) -> None:
    """Name the twins, the first of them; JSON and the report have all."""
    from percert.evaluation.copies.pictures import twins_words

    if not twins:
        return
    complain(f"{twins_words(twins)}:")
    for group in twins[:SHOWN]:
        complain(f"  {', '.join(map(str, group))}")
    if len(twins) > SHOWN:
        complain(f"  and {len(twins) - SHOWN} more groups")


def _show(results: "list[DetectorResult]", out: Path) -> None:
    from percert.evaluation.copies.report import confidence_words

    budgets = next((one.certified for one in results if one.certified), [])
    show_table(
        [
            ("detector", "left"),
            *((f"TPR at {point.fpr:g}", "right") for point in results[0].points),
            ("threshold", "right"),
            ("found", "right"),
            *((f"certified at {entry.eps:g}", "right") for entry in budgets),
        ],
        [
            [
                one.name,
                *(f"{point.tpr:.3f}" for point in one.points),
                f"{one.threshold:.4g}",
                f"{one.natural:.3f}",
                *([f"{entry.rate:.3f}" for entry in one.certified] or ["-"] * len(budgets)),
            ]
            for one in results
        ],
    )
    for one in results:
        for what, found in (("copies found", one.evasion), ("strangers refused", one.collision)):
            if found is not None:
                left = ", ".join(f"{entry.rate:.3f} at {entry.eps:g}" for entry in found.budgets)
                say(f"{one.name}, {what} under attack: {found.natural:.3f} without, {left}")
    say("")
    if words := confidence_words(results):
        say(words)
    say(f"report.html, copies.json and records.parquet are in {out}")
