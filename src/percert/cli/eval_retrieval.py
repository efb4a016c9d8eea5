"""``percert eval retrieval``: the nearest image before and after an attack on the query."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.attack_options import SeedOption
from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_copies_inputs import make_detectors, weights_of
from percert.cli.eval_runs import Evaluation, counting
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    writable_folder,
)
from percert.cli.output import listed, note_left_out, say, show_table, with_left_out

if TYPE_CHECKING:
    from percert.attacks import Attack
    from percert.evaluation.retrieval import RetrievalScore
    from percert.images import LeftOut

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
    from percert.evaluation.copies.measure import spread
    from percert.evaluation.retrieval import (
        COLUMNS,
        RetrievalRow,
        folders_as_labels,
        readable_items,
        retrieve,
        score,
    )
    from percert.evaluation.retrieval_report import (
        attacked_path,
        retrieval_pictures,
        retrieval_sections,
    )
    from percert.images import save_image
    from percert.reports import RecordStore, read_run
    from percert.reports.page import how_made, write_page, write_whole
    from percert.runs import check_names, find_items, with_labels
    from percert.runs.plan import attacks_for

    ((_, chosen),) = attacks_for([attack], "embedding").items()
    place = str(resolve_device(device))
    detectors = make_detectors(metric_name, checkpoint, against or [], place)
    left_out: list[LeftOut] = []
    items, bad = readable_items(find_items(images, left_out))
    items = folders_as_labels(items) if labels is None else with_labels(items, labels)
    check_names(items)
    settings = {
        "eval": "retrieval",
        "images": str(images.resolve()),
        "count": len(items),
        "labels": labels and str(labels.resolve()),
        "detectors": {one.name: weights_of(one) for one in detectors},
        "attack": attack,
        "queries": queries,
        "seed": seed,
    }
    evaluation = Evaluation(out, settings, place)
    store = RecordStore(out, COLUMNS, key=("image", "detector"))
    done = {(row["image"], row["detector"]): row for row in store.rows()}
    asked = spread(len(items), queries)
    with counting("retrieving") as show:
        for rows, moved in retrieve(
            detectors, items, asked, chosen, seed=seed, done=done, progress=show
        ):
            for row, image in zip(rows, moved, strict=True):
                path = attacked_path(out, row.detector, row.image)
                path.parent.mkdir(parents=True, exist_ok=True)
                save_image(image, path)  # there before the row that says so
            store.append([asdict(row) for row in rows])
    order = [one.name for one in detectors]
    kept = store.merge(lambda row: (order.index(row["detector"]), row["image"]))
    found = [RetrievalRow(**row) for row in kept]
    scores = score(found, _l2_budget(chosen))
    grids = retrieval_pictures(found, items, out, pictures)
    for name, png in grids.items():
        write_whole(out / f"{name}.png", png)
    evaluation.finish(
        "retrieval",
        {
            "images": len(items),
            "queries": len(asked),
            "attack": attack,
            "checked": "no query left its first image within its certificate",
            "scores": [asdict(entry) for entry in scores],
            "bad": listed(bad),
            **with_left_out(left_out),
        },
        as_json=as_json,
    )
    write_page(
        out / "report.html",
        "Retrieval",
        [*retrieval_sections(scores, found, grids), how_made(read_run(out))],
        lead=f"{len(asked)} queries in a collection of {len(items)} images, attacked by {attack}.",
    )
    if not as_json:
        _show(scores, out)
    note_left_out(left_out)
    if bad:
        complain(f"{len(bad)} images could not be read:")
        for name, reason in bad:
            complain(f"  {name}: {reason}")
        raise typer.Exit(1)


def _l2_budget(attack: "Attack") -> float | None:
    """The attack's own l2 budget, where it has one."""
    eps = getattr(attack, "eps", None)
    return float(eps) if eps is not None and getattr(attack, "norm", None) == "l2" else None


def _show(scores: "list[RetrievalScore]", out: Path) -> None:
    from percert.evaluation.retrieval_report import scores_table

    table = scores_table(scores)
    show_table(table.columns, table.rows)
    say("")
    say(f"report.html, retrieval.json and the attacked queries are in {out}")
