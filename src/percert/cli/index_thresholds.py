"""``percert index refit`` and ``upgrade``: the thresholds of a store's images set anew."""

from typing import Annotated, Any, Literal

import typer

from percert.cli.command import needs, one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    NewMetricOption,
    StoreOption,
    metric_for_store,
)
from percert.cli.output import emit_json, note_bad, say
from percert.cli.progress import Bar


@one_line_errors
@needs("search")
def refit(
    store: StoreOption,
    source: Annotated[
        Literal["shipped", "collection"],
        typer.Option(
            "--from",
            help="The background that comes with the metric, or one of the stored images "
            "themselves, near-duplicates left out.",
        ),
    ] = "shipped",
    as_json: JsonOption = False,
) -> None:
    """Measure every stored image against another background: its threshold is set anew.

    A stored image that resembles the background gets a strict threshold. It is set when the image
    is added, by the background that the store keeps, and changes by this command alone: whoever
    adds images moves the thresholds of no others. What changed is said. A run that is stopped
    leaves the store as it was.

    [bold]Example[/bold]

    percert index refit --store photos.store --from collection
    """
    from percert.search import open_store

    found = open_store(store, create=False).refit(source)
    if as_json:
        said = {name: getattr(found, name) for name in ("source", "pictures", "images")}
        changed = {name: getattr(found, name) for name in ("stricter", "wider", "mean")}
        emit_json({"store": store, **said, **changed})
        return
    say(
        f"Measured {found.images} images against {found.pictures} pictures ({found.source}): "
        f"{found.stricter} have a stricter threshold in a view, {found.wider} a wider one "
        f"(by more than 0.01; {found.mean:+.4f} on average)."
    )


@one_line_errors
@needs("search")
def upgrade(
    store: StoreOption,
    out: Annotated[
        str, typer.Option("--out", metavar="NEW", help="The new store: a folder or an address.")
    ],
    metric_name: NewMetricOption = None,
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    views: Annotated[
        str,
        typer.Option(metavar="SET|NAMES", help="What is stored of each image, as for index add."),
    ] = "standard",
    as_json: JsonOption = False,
) -> None:
    """Make a store of an earlier percert into one of today's, with a threshold for each image.

    Every file that the store knows is embedded anew, for the new store holds other views of it, and
    added to NEW, by the metric and the weights of the old one or by --metric. Stopped, the same
    command goes on where it was. The old store is only read: it works as it did. Images whose files
    are gone stay in it alone; how many is said.

    [bold]Example[/bold]

    percert index upgrade --store photos.store --out photos.new

    percert index upgrade --store photos.store --out photos.new --metric lipsim-tiny
    """
    from percert.images.walk import listed
    from percert.search import upgrade_store

    metric = metric_for_store(store, metric_name, checkpoint, device)
    with Bar() as show:
        found = upgrade_store(store, out, metric, views, progress=show)
    usual = ("added", "unchanged")
    counts = {name: count for name, count in found.counts.items() if count or name in usual}
    bad = [(one.path, one.reason or "") for one in found.bad]
    gone = found.without_file
    if as_json:
        answer: dict[str, Any] = {"store": store, "out": out, **counts, "without_file": gone}
        answer["bad"] = listed(bad)
        emit_json({**answer, "images": found.new.count})
    else:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        say(f"{said}; the new store holds {found.new.count} of {found.old.count} images.")
        if gone:
            say(f"{gone} images have no file any more, and stay in {store} alone.")
    note_bad(bad, "files could not be added")
    if bad:
        raise typer.Exit(1)
