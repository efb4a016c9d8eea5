"""The metric of a store, made from its name: what every verb of ``percert index`` starts with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.options import _known_metric

if TYPE_CHECKING:
    from percert.metrics.metric import Metric

DEFAULT = "lipsim-tiny"


def _known_or_none(name: str | None) -> str | None:
    return None if name is None else _known_metric(name)


StoreOption = Annotated[
    str,
    typer.Option(
        "--store", metavar="PATH", help="The store: a folder, or s3://, gs:// or az://BUCKET/NAME."
    ),
]
StoreMetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        callback=_known_or_none,
        help="The metric; by default the store's, and lipsim-tiny for a new store. Another than "
        "the store's is refused.",
        show_default=False,
    ),
]


def metric_for_store(
    store: str, name: str | None, checkpoint: Path | None, device: str
) -> "Metric":
    """The metric called ``name``, or by default the one that the store is of.

    Whether its weights are the store's is checked when the store is opened with it.
    """
    from percert.metrics.catalog import create_metric
    from percert.search.metric_name import metric_name

    if name is None:
        name = metric_name(store) or DEFAULT
    return create_metric(name, checkpoint=checkpoint, device=device)
