"""``percert compare`` and ``percert judge``: how far from a reference, and which is closer."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from percert.check import ArgumentError
from percert.cli.command import one_line_errors, option_names
from percert.cli.edits import EditsOption, show_edits
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    ThresholdOption,
)
from percert.cli.output import emit_json, say, show_result, show_table
from percert.cli.progress import Bar
from percert.reports.budgets import describe, rounded_down, rounded_up_db
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.certify.answers import Comparison
    from percert.search.query.reference_rule import ReferenceRule

ImageArgument = Annotated[Path, typer.Argument(help="An image file.")]


@one_line_errors
def compare(
    reference: ImageArgument,
    candidates: Annotated[
        list[Path], typer.Argument(metavar="CANDIDATE", help="Image files, and folders of them.")
    ],
    eps: EpsOption = None,
    threshold_text: ThresholdOption = None,
    views: Annotated[
        str,
        typer.Option(
            metavar="SET|NAME,...",
            help="Views of the reference, as of percert index add: a candidate is a copy where it "
            "is one of any.",
        ),
    ] = "whole",
    metric_name: MetricOption = "lipsim-tiny",
    perturbed: Annotated[
        Literal["candidate", "reference", "both"],
        typer.Option(help="Which image is tampered with."),
    ] = "candidate",
    with_edits: EditsOption = False,
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How far is each CANDIDATE from the REFERENCE, and is it a copy of it?

    Beside the distance (0: equal) stand the proven bounds that it keeps while somebody changes the
    pixels by up to --eps, and beside the verdict its radius: no change of the pixels of less than
    that l2 length turns it round. By default a copy lies within the reference's own threshold, as
    in an index: 1 in 1,000 unrelated photographs is as near. Images of different sizes are fine. A
    candidate that cannot be read is listed at the end, and the exit status is then 1.

    [bold]Examples[/bold]

    percert compare photo.jpg copy.png

    percert compare photo.jpg uploads/ --eps 4 --threshold 0.25

    percert compare photo.jpg uploads/ --threshold auto:1e-6 --views standard

    percert compare photo.jpg copy.png --edits

    percert compare photo.jpg uploads/ --json | jq '.results[] | select(.copy)'
    """
    from percert.certify.editing.summary import copy_stays
    from percert.runs.compare import CompareSettings, compare_files
    from percert.runs.engine import RunResult
    from percert.search.ingest.views import parse_views

    threshold, wrong = threshold_text or (None, None)
    names = parse_views(views)
    try:
        asked = CompareSettings(
            metric=metric_name,
            checkpoint=checkpoint,
            eps=eps,
            threshold=threshold,
            wrong=wrong,
            views=names,
            perturbed=perturbed,
            edits=with_edits,
            device=device,
        )
    except ArgumentError as error:
        raise typer.BadParameter(error.wording.said(option_names(compare))) from None
    with Bar() as show:
        found = compare_files(reference, candidates, asked, progress=show)
    results = found.results
    if results and not as_json:
        explain(str(reference), results, metric_name, found.rule, perturbed)
        if found.rule is not None and found.rule.words:
            say(found.rule.words)
        show_edits([(one.candidate, copy_stays(one.copy)) for one in results], found.edits)
    show_result(
        RunResult(found.answer(), (), found.bad, left_out=found.left_out),
        as_json=as_json,
        what=f"of {found.count} candidates could not be compared",
    )


@one_line_errors
def judge(
    reference: ImageArgument,
    left: ImageArgument,
    right: ImageArgument,
    perturbed: Annotated[
        Literal["reference", "candidates", "all"],
        typer.Option(help="Which images are tampered with, each within the radius."),
    ] = "reference",
    with_edits: EditsOption = False,
    metric_name: MetricOption = "lipsim-tiny",
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which is closer to the REFERENCE, LEFT or RIGHT, and how far does that answer stand?

    The radius is proven: no change of the pixels up to that l2 length turns the answer round.
    Images of different sizes are fine; a radius counts in the pixels (0 to 1) of each image as
    given.

    [bold]Examples[/bold]

    percert judge photo.jpg edited.jpg another.jpg

    percert judge photo.jpg edited.jpg another.jpg --perturbed all --json

    percert judge photo.jpg edited.jpg another.jpg --edits
    """
    from percert.certify.sentences import judgement_sentence
    from percert.runs.compare import JudgeSettings, judge_files

    try:
        asked = JudgeSettings(
            metric=metric_name,
            checkpoint=checkpoint,
            perturbed=perturbed,
            edits=with_edits,
            device=device,
        )
    except ArgumentError as error:
        raise typer.BadParameter(error.wording.said(option_names(judge))) from None
    found = judge_files(reference, left, right, asked)
    if as_json:
        emit_json(found.answer())
        return
    judgement = found.judgement
    near, far = (left, right) if judgement.closer == "left" else (right, left)
    distances = sorted((judgement.distance_left, judgement.distance_right))
    say(
        f"{near} is closer to {reference}: distance {distances[0]:.4f}; "
        f"{far} is at {distances[1]:.4f} ({metric_name}).",
        style="bold",
    )
    whose = {
        "reference": str(reference),
        "candidates": f"{left} and {right} each",
        "all": "the three images each",
    }[perturbed]
    say(judgement_sentence(judgement, whose, found.sizes, metric_name))
    show_edits([(str(reference), f"stays closer to {near}")], [found.edits])


def explain(
    reference: str,
    results: "Sequence[Comparison]",
    metric: str,
    rule: "ReferenceRule | None",
    perturbed: str,
) -> None:
    """Show ``results`` (at least one) on stdout: a table, then what it means in sentences."""
    from percert.certify.sentences import comparison_sentences

    show_table(comparisons_table(results, metric))
    say("")
    candidate = results[0].candidate if len(results) == 1 else "a candidate"
    whose = {"candidate": candidate, "reference": reference}.get(
        perturbed, f"{reference} and {candidate} each"
    )
    if len(results) == 1:
        styles = {"yes": "bold green", "no": "bold yellow", "plain": ""}
        for said in comparison_sentences(reference, results[0], metric, whose):
            say(said.text, style=styles[said.tone])
    else:
        _explain_many(reference, results, metric, rule, whose)
    if results[0].lower is None:
        say(f"{metric} has no proven bound: it says nothing about tampering.")


def comparisons_table(results: "Sequence[Comparison]", metric: str) -> Table:
    """A row a candidate, with what its metric can prove of it, or how many people would notice."""
    from percert.certify.sentences import outward
    from percert.metrics.seen_study import OBSERVERS, coefficients

    viewed = any(result.view not in (None, "whole") for result in results)
    columns: list[Column[Comparison]] = [
        Column("candidate", lambda result: result.candidate),
        Column("distance", lambda result: result.distance, ".4f"),
    ]
    if metric == OBSERVERS:
        share = coefficients().share
        columns += [
            Column(
                "would notice",
                lambda result: share(result.distance),
                lambda people: f"{100 * people:.0f} of 100",
            )
        ]
    if results[0].lower is not None:
        columns += [
            Column(
                "stays within",
                lambda result: (result.lower, result.upper),
                lambda ends: " - ".join(outward(*ends)),
            )
        ]
    if results[0].radius is not None:
        verdicts = {True: "yes", False: "no", None: "undecided"}  # None: one of the two is plain
        columns += [
            Column("copy", lambda result: verdicts[result.copy]),
            *([Column("view", lambda result: result.view)] if viewed else []),
            Column("radius l2", lambda result: result.radius, lambda r: rounded_down(r, 3)),
            Column("PSNR", _least_db, side="right"),
        ]
    return Table.of(results, columns)


def _least_db(result: "Comparison") -> str:
    if not result.radius:
        return "-"
    if math.isinf(result.radius):
        return "any"
    return f">= {rounded_up_db(result.radius, result.resolution)} dB"


def _explain_many(
    reference: str,
    results: "Sequence[Comparison]",
    metric: str,
    rule: "ReferenceRule | None",
    whose: str,
) -> None:
    from percert.certify.sentences import shown
    from percert.metrics.seen_study import OBSERVERS, coefficients

    if rule is None or results[0].radius is None:
        say(f"Distances from {reference} by {metric}; 0: equal.", style="bold")
        if metric == OBSERVERS:
            alarms = 100 * coefficients().false_alarms
            say(f"Of an unchanged picture {alarms:.0f} of 100 people would say so.")
    else:
        copies = sum(bool(result.copy) for result in results)
        count = len(rule.views)
        views = "" if count == 1 else f", or within its own of any of {count} views"
        say(
            f"{copies} of {len(results)} are copies of {reference}: distance <= "
            f"{shown(rule.threshold)} ({metric}{views}).",
            style="bold",
        )
        say(
            f"Proven: a verdict stands for every change of {whose} of less than its radius, an l2 "
            "length in pixels from 0 to 1, and so for every change of more than that PSNR."
        )
    if results[0].lower is not None:
        say(
            f"Proven: for every change of {whose} up to {_budget(results)} the distance stays "
            "within its bounds."
        )


def _budget(results: "Sequence[Comparison]") -> str:
    """The eps of all rows, in one phrase: by default it grows with the size of the image."""
    one = results[0]
    if len({(result.eps, result.resolution) for result in results}) == 1:
        return describe(one.eps, one.resolution)
    lengths = {result.eps for result in results}
    if len(lengths) == 1:
        return f"l2 {one.eps:g}"
    return f"1/255 on every value (l2 {min(lengths):.3g} to {max(lengths):.3g} by size)"
