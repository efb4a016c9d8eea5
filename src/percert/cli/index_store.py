"""``percert index add``, ``info`` and ``remove``: the store behind the queries."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from percert.cli.command import complain, fail, needs, one_line_errors
from percert.cli.index_added import print_outcome, report_added
from percert.cli.index_partner import NewPartnerOption, StrangersOption, partner_for_store
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    StoreMetricOption,
    StoreOption,
    metric_for_store,
)
from percert.cli.output import emit_json, say
from percert.cli.progress import Bar


@one_line_errors
@needs("search", sometimes=("ray",))
def add(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|FILE|PARQUET", help="Image files, folders, parquet files."),
    ],
    store: StoreOption,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    views: Annotated[
        str | None,
        typer.Option(
            metavar="SET|NAMES",
            help="What is stored of each image: whole; small (and 3 bands, without the bottom, the "
            "top, the margins); standard (a band and 9 crops at 0.8); thorough (3 bands and 18 "
            "crops at 0.9 and 0.8); exhaustive (and turned, tilted, in a border, and its middle); "
            "mirror (and the mirror image); or names with commas, such as centre-80,tilted-left. "
            "Each costs an embedding and 2 kB, and lets such copies be found. A store keeps what "
            "it was made with; a new one takes standard.",
            show_default=False,
        ),
    ] = None,
    partner: NewPartnerOption = None,
    strangers: StrangersOption = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Work here, or through Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT|auto", help="A Ray cluster; otherwise Ray starts here."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Decoders, or with Ray networks. By default one a core, or a GPU.",
            show_default=False,
        ),
    ] = None,
    decode_in: Annotated[
        Literal["auto", "threads", "processes"],
        typer.Option(
            help="Threads start at once; processes scale beyond 4, and outlive a decoder that "
            "crashes on a hostile file."
        ),
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images through the network at once.")] = 64,
    paths_below: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Parquet files list paths (in a column image, filepath, path or file_name): the "
            "files are added, those below DIR and no others.",
            show_default=False,
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            "--ids",
            metavar="COLUMN",
            help="A column of the parquet files with ids of your own: answers in JSON name them.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Then forget the files below the folders that are given which are gone, as "
            "percert index prune does.",
        ),
    ] = False,
    each: Annotated[
        bool,
        typer.Option(
            "--each", help="Print a line of JSON for each image, once it is stored for good."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add images to a store, and make the store where there is none.

    A file whose path, size and time of change are those in the store is passed over, and one whose
    bytes are stored already costs no embedding: its path is stored beside the other, or in its
    place where the other is gone (a file that was renamed). A file that
    cannot be read is listed at the end, and the exit status is then 1; the others are added. What
    is reported as stored survives whatever happens; run the same command again after a crash. A
    parquet file has one column of bytes or of structs with bytes, or several of which one is called
    image; or it names files, and --paths-below says where they may lie.

    [bold]Examples[/bold]

    percert index add photos/ --store photos.store

    percert index add photos/ extra.jpg --store fast.store --views whole

    percert index add train-*.parquet --store s3://bucket/train --engine ray --address auto
    """
    from percert.device import keep_freed_memory
    from percert.search import AddSettings, IndexSettings, index_images

    if each and as_json:
        raise typer.BadParameter("prints lines, which --json does not", param_hint="--each")
    if address is not None and engine != "ray":
        raise typer.BadParameter("is for --engine ray", param_hint="--address")
    if strangers and partner in (None, "none"):
        raise typer.BadParameter("is for a partner: name it", param_hint="--strangers")
    keep_freed_memory()
    kind = None if decode_in == "auto" else decode_in
    settings = IndexSettings(
        views=views,
        adding=AddSettings(None if engine == "ray" else workers, kind, batch),
        paths_below=paths_below,
        ids=ids,
        prune=prune,
        engine=engine,
        address=address,
        workers=workers,
        device=device,
    )
    # Ray's workers move it to their own devices.
    here = device if engine == "local" else "cpu"
    with Bar() as show:
        found = index_images(
            store,
            inputs,
            metric_for_store(store, metric_name, checkpoint, here),
            settings,
            partner=partner_for_store(partner, device),
            strangers=strangers,
            progress=show,
            each=print_outcome if each else lambda outcome: None,
            warn=complain,
        )
    report_added(found, as_json, each)


@one_line_errors
@needs("search")
def info(store: StoreOption, as_json: JsonOption = False) -> None:
    """What a store holds: how many images, from which metric, in which views.

    [bold]Example[/bold]

    percert index info --store photos.store
    """
    from percert.search.info import describe_store

    found = describe_store(store)
    if as_json:
        emit_json(found)
        return
    metric = found["metric"]
    say(f"{found['images']} images in {found['files']} files, views: {', '.join(found['views'])}")
    say(f"metric {metric['name']}, {metric['width']} values, bound {metric['bound']:.6g}")
    own = found["background"]
    say(
        "one threshold for all images"
        if own is None
        else f"thresholds of each image's own, by a background ({own['source']}) {own['hash']}"
    )
    say(f"weights {metric['weights']}")
    partner = found["partner"]
    if partner is not None:
        say(f"partner {partner['name']}, {partner['width']} values, {partner['rows']} rows")
        say(f"its thresholds are by {partner['strangers']}")
    if found["disk_bytes"] is not None:
        say(f"{found['disk_bytes'] / 2**20:.1f} MiB on disk")


@one_line_errors
@needs("search")
def remove(
    what: Annotated[
        list[str],
        typer.Argument(metavar="PATH|ID", help="Files, folders, parquet files, or ids of images."),
    ],
    store: StoreOption,
    as_json: JsonOption = False,
) -> None:
    """Remove images from a store: by file, by folder, or by id. The files themselves stay.

    An image that another file holds as well stays, without the file that was named. Files need not
    exist any more. What is not in the store is listed at the end, and the exit status is then 1.

    [bold]Examples[/bold]

    percert index remove photos/private/ --store photos.store

    percert index remove 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --store s
    """
    from percert.search import open_store

    opened = open_store(store, create=False)
    before = opened.count
    files, missing = opened.remove_named(what)
    images = before - opened.count
    if as_json:
        emit_json({"store": store, "files": files, "images": images, "missing": missing})
    else:
        say(f"Removed {images} images and {files} files; {opened.count} images are left.")
    if missing:
        fail(f"not in the store: {', '.join(missing)}")
