"""``percert eval copies``: copy detectors on any pictures: natural, certified and under attack."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.attack_options import SeedOption
from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_copies_inputs import parse_budgets, parse_edits
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    writable_folder,
)
from percert.cli.output import show_result
from percert.cli.progress import stepping

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
    from percert.evaluation.copies.evaluate import CopiesPlan
    from percert.evaluation.copies.gallery import parse_threshold
    from percert.evaluation.copies.hashes import create_detectors
    from percert.evaluation.copies.run import CopiesSettings, run_copies
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
    asked = CopiesSettings(
        images=images,
        detectors=create_detectors(metric_name, checkpoint, rival or (), place),
        plan=plan,
        distractors=distractors or (),
        queries=queries,
        device=place,
    )
    with stepping() as show:
        command = ["percert", *sys.argv[1:]]
        result = run_copies(asked, out, command=command, progress=show, twins_found=_warn)
    show_result(result, as_json=as_json)


def _warn(twins: Sequence[Sequence[Path]]) -> None:
    """Name the twins, the first of them; JSON and the report have all."""
    from percert.evaluation.copies.pictures import twins_words

    if not twins:
        return
    complain(f"{twins_words(twins)}:")
    for group in twins[:SHOWN]:
        complain(f"  {', '.join(map(str, group))}")
    if len(twins) > SHOWN:
        complain(f"  and {len(twins) - SHOWN} more groups")
