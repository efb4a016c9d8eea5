"""``percert eval retrieval``: the nearest image before and after an attack on the query."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.attack_options import SeedOption
from percert.cli.command import needs, one_line_errors
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

#: LipSim's section 5.3: l2-PGD of eps 2 on the embedding.
DEFAULT_ATTACK = "pgd:norm=l2,eps=2,steps=40"


@one_line_errors
@needs(given={"out": "report"})
def eval_retrieval(
    images: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE", help="The collection: a folder, or a parquet file."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="Where report.html, retrieval.json, records.parquet, the attacked queries and "
            "run.json go. A run that was stopped goes on there.",
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
    with stepping() as show:
        result = run_retrieval(asked, out, command=["percert", *sys.argv[1:]], progress=show)
    show_result(result, as_json=as_json)
