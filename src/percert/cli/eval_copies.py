"""``percert eval copies`` and ``retrieval``: images looked for in a collection, and attacked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from percert.check import ArgumentError
from percert.cli.command import command_line, complain, needs, one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    SeedOption,
    out_option,
)
from percert.cli.output import show_result
from percert.cli.progress import Bar
from percert.reports.budgets import parse_lengths

if TYPE_CHECKING:
    from percert.data.copy_edits import Edit

#: Groups of twins that are named on stderr.
SHOWN = 20
#: LipSim's section 5.3: l2-PGD of eps 2 on the embedding.
DEFAULT_ATTACK = "pgd:norm=l2,eps=2,steps=40"


@one_line_errors
@needs(given={"out": "report"}, sometimes=("augly", "rivals", "sscd"))
def eval_copies(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Pictures, and folders of them: what is copied."),
    ],
    out: Annotated[
        Path,
        out_option(
            "Where report.html, copies.json, records.parquet, two figures and run.json go. A "
            "run that was stopped goes on there."
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
            help="phash, dhash, whash, pdq, cnn (imagededup), sscd, "
            "features=SQUEEZENET.safetensors, or another metric with an embedding; may be given "
            "several times.",
        ),
    ] = None,
    edits: Annotated[
        str,
        typer.Option(
            metavar="SET|NAME,...",
            help="How copies are made: usual, hard, all (both), augly (AugLy's, of its package), "
            "or single edits.",
        ),
    ] = "usual",
    views: Annotated[
        str,
        typer.Option(
            metavar="SET|NAME,...",
            help="Views of every stored picture, as of percert index add: whole, small, standard, "
            "thorough, exhaustive, mirror, or a list.",
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
    rule: Annotated[
        Literal["own", "one"],
        typer.Option(
            help="own: as in an index each stored picture has a threshold of its own, strict where "
            "it resembles everything, by metrics that come with a background. one: one threshold "
            "for all.",
        ),
    ] = "own",
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

    percert eval copies photos/ --edits all --views thorough --attack --eps 1,4,16 --out out/views

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
        detectors=create_detectors(metric_name, checkpoint, rival or (), place, own=rule == "own"),
        plan=plan,
        distractors=distractors or (),
        queries=queries,
        device=place,
    )
    with Bar() as show:
        command = command_line()
        result = run_copies(asked, out, command=command, progress=show, twins_found=_warn)
    show_result(result, as_json=as_json)


def _warn(twins: Sequence[Sequence[str]]) -> None:
    """Name the twins, the first of them; JSON and the report have all."""
    from percert.evaluation.copies.pictures import twins_words

    if not twins:
        return
    complain(f"{twins_words(twins)}:")
    for group in twins[:SHOWN]:
        complain(f"  {', '.join(group)}")
    if len(twins) > SHOWN:
        complain(f"  and {len(twins) - SHOWN} more groups")


@one_line_errors
@needs(given={"out": "report"})
def eval_retrieval(
    images: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE", help="The collection: a folder, or a parquet file."),
    ],
    out: Annotated[
        Path,
        out_option(
            "Where report.html, retrieval.json, records.parquet, the attacked queries and "
            "run.json go. A run that was stopped goes on there."
        ),
    ],
    metric_name: MetricOption = "lipsim-tiny",
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="NAME[=FILE]",
            help="What is set beside it: features=SQUEEZENET.safetensors, phash, dhash, whash, "
            "pdq, cnn, or another metric with certificates; may be given several times.",
        ),
    ] = None,
    attack: Annotated[
        str,
        typer.Option(
            "--attack",
            metavar="NAME[:key=value,...]",
            help="An attack for embeddings, of [bold]percert attack list[/bold]. eps is a length "
            "in the query's pixels.",
        ),
    ] = DEFAULT_ATTACK,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Classes: a row names an image and its label. Without it those of a parquet "
            "file, or the folders in DIR.",
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(metavar="N", min=1, help="At most so many queries, spread evenly.")
    ] = 100,
    pictures: Annotated[
        int, typer.Option(metavar="N", min=0, help="So many queries to look at.")
    ] = 6,
    checkpoint: CheckpointOption = None,
    seed: SeedOption = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Is the nearest image still the same after an attack on the query?

    As in LipSim's section 5.3: of every query, the nearest of all other images is found before and
    after an attack that moves its embedding as far as it can, for two metrics or more side by
    side. Where there is a certificate, the share of queries whose nearest image is proven to stay
    is there as well, and the run itself checks that none of these was changed.

    [bold]Examples[/bold]

    percert eval retrieval photos/ --against features=squeezenet.safetensors --out out/retrieval

    percert eval retrieval photos/ --labels photos.csv --attack pgd:norm=l2,eps=4 --out out/far --json
    """  # noqa: E501
    from percert.device import resolve_device
    from percert.evaluation.copies.hashes import create_detectors
    from percert.evaluation.retrieval_report import RetrievalSettings, run_retrieval

    place = str(resolve_device(device))
    asked = RetrievalSettings(
        images=images,
        detectors=create_detectors(metric_name, checkpoint, against or (), place),
        attack=attack,
        labels=labels,
        queries=queries,
        pictures=pictures,
        seed=seed,
        device=place,
    )
    with Bar() as show:
        result = run_retrieval(asked, out, command=command_line(), progress=show)
    show_result(result, as_json=as_json)


def parse_edits(text: str) -> "tuple[Edit, ...]":
    """A set of edits by its name, or single ones in a list.

    >>> [edit.name for edit in parse_edits("mirror, jpeg-50")]
    ['mirror', 'jpeg-50']
    """
    from percert.data.copy_edits import EDIT_SETS, find_edit

    if text in EDIT_SETS:
        return EDIT_SETS[text]
    names = dict.fromkeys(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise ValueError(f"--edits: expected {', '.join(EDIT_SETS)} or names of edits, found none")
    return tuple(find_edit(name) for name in names)


def parse_budgets(text: str, side: int) -> tuple[float, ...]:
    """Lengths above 0, rising; of linf changes and decibels in pictures of ``side`` x ``side``.

    >>> parse_budgets("16,1/2,linf:8/255", 299)
    (0.5, 16.0, 16.247...)
    """
    try:
        found = sorted(parse_lengths(text, (side, side) if side else None))
    except ArgumentError:
        raise typer.BadParameter(
            "linf and dB are lengths of pictures of one size, and --side 0 names none",
            param_hint="--eps",
        ) from None
    except ValueError:
        found = []
    if not found or found[0] <= 0:
        raise typer.BadParameter(
            f"expected lengths above 0 such as 1,4,36/255, or linf:8/255, or 30dB, found {text!r}",
            param_hint="--eps",
        )
    return tuple(found)
