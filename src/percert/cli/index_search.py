"""``percert index search``, ``copies`` and ``duplicates``: what a store is asked."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.edits import EditsOption, edits_of_copies, rows_with_edits, show_copy_edits
from percert.cli.index_partner import PartnerOption, partner_for_store
from percert.cli.index_show import show_copies, show_duplicates, show_nearest, write_duplicates
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    StoreMetricOption,
    StoreOption,
    budget_of,
    metric_for_store,
    writable_folder,
)
from percert.cli.output import emit_json, note_left_out, say
from percert.cli.progress import Bar, with_progress
from percert.reports.budgets import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from percert.certify.editing.summary import EditSummary
    from percert.images import LeftOut
    from percert.search import Copies, Nearest, Store

#: Images that are searched for in one pass.
TOGETHER = 64

QueriesArgument = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders of them.")
]
TamperOption = Annotated[
    Budget | None,
    typer.Option(
        "--eps",
        metavar="E",
        parser=budget_of,
        help="The tampering to allow for: an l2 length in the query's pixels (0 to 1), such as 4; "
        "or linf:1/255, one 8-bit level on every value; or 30dB, every change of that PSNR.",
        show_default=False,
    ),
]


AutoThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="T|auto|auto:RATE",
        help="Images up to this distance are copies. By default (and auto) one query in a million "
        "that is a copy of nothing gets an answer, however much is stored; with auto:RATE the "
        "share RATE of unrelated pairs passes. Both by the metric's own table of strangers; where "
        "it has none, auto and auto:RATE choose by the stored images.",
        show_default=False,
    ),
]


@one_line_errors
@needs("search")
def search(
    images: QueriesArgument,
    store: StoreOption,
    k: Annotated[int, typer.Option("-k", min=1, help="How many of the nearest.")] = 10,
    eps: TamperOption = None,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    partner: PartnerOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which stored images are nearest to each IMAGE, and how far is that proven?

    Beside each distance stands the radius within which the image stays among the first k, whatever
    somebody does to IMAGE. With --eps come all images that could be the first after such a change,
    and whether the answer is certain. The search is exact: no stored image is left out. The nearest
    by the store's partner, if it has one, stand beside. --json gives an answer an IMAGE in the list
    "answers".

    [bold]Examples[/bold]

    percert index search query.jpg --store photos.store -k 5

    percert index search uploads/ --store photos.store --eps 4 --json
    """
    opened = _open(store, metric_name, checkpoint, device, partner)
    answers: list[Nearest] = []
    bad: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    for names, pixels, unread in _groups(images, left_out):
        bad += unread
        for length, at in _lengths(eps, pixels):
            some, called = [pixels[i] for i in at], [names[i] for i in at]
            answers += opened.search(some, k, length, names=called)
    _tell([answer.to_json() for answer in answers], bad, left_out, as_json)
    if not as_json:
        for answer in answers:
            show_nearest(answer)
    _end(bad, left_out)


@one_line_errors
@needs("search")
def copies(
    images: QueriesArgument,
    store: StoreOption,
    threshold: AutoThresholdOption = None,
    eps: TamperOption = None,
    with_edits: EditsOption = False,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    partner: PartnerOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which stored images is each IMAGE a copy of? None is missing, by proof.

    Certain copies stay copies for every change of IMAGE of up to --eps; possible ones could be
    copies after such a change, and no image that is not listed could. What the store's partner
    finds besides is found, not certain; where both find nothing, nothing here resembles IMAGE.
    --json gives an answer an IMAGE in the list "answers".

    [bold]Examples[/bold]

    percert index copies query.jpg --store photos.store

    percert index copies uploads/ --store photos.store --threshold auto:1e-4 --eps 4 --json
    """
    opened = _open(store, metric_name, checkpoint, device, partner)
    limit, said = find_threshold(opened, threshold)
    answers: list[Copies] = []
    edits: list[list[EditSummary]] = []
    bad: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    for names, pixels, unread in _groups(images, left_out):
        bad += unread
        for length, at in _lengths(eps, pixels):
            some, called = [pixels[i] for i in at], [names[i] for i in at]
            found = opened.copies(some, limit, length, names=called)
            answers += found
            edits += edits_of_copies(opened, some, found) if with_edits else [[]] * len(found)
    told = [
        rows_with_edits({**answer.to_json(), **said}, of_rows)
        for answer, of_rows in zip(answers, edits, strict=True)
    ]
    _tell(told, bad, left_out, as_json)
    if not as_json:
        for answer, of_rows in zip(answers, edits, strict=True):
            show_copies(answer)
            show_copy_edits(answer, of_rows)
    _end(bad, left_out)


@one_line_errors
@needs("search")
def duplicates(
    store: StoreOption,
    threshold: AutoThresholdOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="A folder for the links and clusters, as parquet. A run that was stopped goes on "
            "there.",
            show_default=False,
        ),
    ] = None,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    partner: PartnerOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which stored images are copies of each other?

    All pairs are compared, block by block; files with the same bytes are linked at distance 0. A
    link holds while both of its images change, each by less than its radius, and a cluster stays
    connected within the smallest radius that it needs. Links of the store's partner stand beside.

    [bold]Examples[/bold]

    percert index duplicates --store photos.store --json

    percert index duplicates --store photos.store --threshold 0.2 --out duplicates/
    """
    from time import perf_counter

    began = perf_counter()
    opened = _open(store, metric_name, checkpoint, device, partner)
    limit, said = find_threshold(opened, threshold)
    with Bar() as bar:
        found = opened.duplicates(limit, out=out, progress=partial(bar, "comparing"))
    if out is not None:
        write_duplicates(out, found, store, device, perf_counter() - began)
    if as_json:
        emit_json({**found.to_json(), **said})
    else:
        show_duplicates(found)


def _open(
    store: str, name: str | None, checkpoint: Path | None, device: str, partner: str | None
) -> "Store":
    from percert.search import open_store

    metric = metric_for_store(store, name, checkpoint, device)
    beside = partner_for_store(partner, device)
    return open_store(store, metric, create=False, partner=beside)


def _groups(
    images: list[Path], left_out: "list[LeftOut]"
) -> "Iterator[tuple[list[str], list[Tensor], list[tuple[str, str]]]]":
    """Names and pixels of images that fit into one pass, and those that could not be read."""
    from percert.images import ImageError, iter_images, search_images

    searched = search_images(images)
    paths = searched.paths
    left_out += searched.left_out
    if not paths:
        raise ValueError(f"{', '.join(map(str, images))}: no images found")
    names: list[str] = []
    pixels: list[Tensor] = []
    bad: list[tuple[str, str]] = []
    for path, found in with_progress(iter_images(paths), len(paths), "searching"):
        if isinstance(found, ImageError):
            bad.append((str(path), found.reason))
        else:
            names.append(str(path))
            pixels.append(found)
        if len(pixels) == TOGETHER:
            yield names, pixels, bad
            names, pixels, bad = [], [], []
    yield names, pixels, bad


def _lengths(
    eps: Budget | None, pixels: "list[Tensor]"
) -> "Iterator[tuple[float | None, list[int]]]":
    """The l2 length that ``eps`` is in each image, and the images in a row that share it."""

    def length(at: int) -> float | None:
        return None if eps is None else eps.length((pixels[at].shape[-2], pixels[at].shape[-1]))

    for shared, group in groupby(range(len(pixels)), length):
        yield shared, list(group)


def _tell(
    answers: list[dict[str, Any]],
    bad: list[tuple[str, str]],
    left_out: "list[LeftOut]",
    as_json: bool,
) -> None:
    """The JSON answer: a list, of one query as of many, and what could not be read."""
    if as_json:
        from percert.images.walk import listed, listed_left_out

        emit_json({"answers": answers, "bad": listed(bad), "left_out": listed_left_out(left_out)})
    elif not answers and not bad:
        say("No images.")


def _end(bad: list[tuple[str, str]], left_out: "list[LeftOut]") -> None:
    note_left_out(left_out)
    if bad:
        complain(f"{len(bad)} images could not be read:")
        for name, reason in bad:
            complain(f"  {name}: {reason}")
        raise typer.Exit(1)


def find_threshold(store: "Store", text: str | None) -> tuple[float, dict[str, Any]]:
    """The threshold that is meant, and how it was chosen for the JSON answer."""
    if text is None:
        return _by_table(store, None)
    word, _, rate = text.partition(":")
    try:
        if word != "auto":
            value = float(text)
            if not 0 <= value <= 2:
                raise ValueError(value)
            return value, {}
        fpr = float(rate) if rate else None
        if fpr is not None and not 0 < fpr < 1:
            raise ValueError(fpr)
    except ValueError:
        raise typer.BadParameter(
            f"expected a distance in [0, 2], auto, or auto:RATE, found {text!r}",
            param_hint="--threshold",
        ) from None
    from percert.search.query.recommended import PER_QUERY, has_table

    if has_table(store.tables.header, fpr):
        return _by_table(store, fpr)
    return _by_images(store, PER_QUERY / max(1, store.count) if fpr is None else fpr)


def _by_table(store: "Store", rate: float | None) -> tuple[float, dict[str, Any]]:
    """The threshold of the metric's table of strangers."""
    from percert.search.query.recommended import one_in

    found = store.recommended_threshold(rate)
    how = "counted" if found.counted else "extrapolated from what was counted"
    if not found.measured:
        how += f", of whole images, for {len(store.views)} views"
    complain(f"threshold {found.threshold:.4g}: {one_in(found.rate)} lies as close ({how})")
    return found.threshold, {"threshold_choice": asdict(found)}


def _by_images(store: "Store", fpr: float) -> tuple[float, dict[str, Any]]:
    """A threshold by the store's own images."""
    chosen = store.choose_threshold(fpr)
    complain(
        f"threshold {chosen.threshold:.4g}: at most {chosen.fpr:.2g} of unrelated pairs pass, with "
        f"{math.floor(1000 * chosen.confidence) / 10:g} % confidence by {chosen.pairs} independent "
        f"pairs (with {100 * chosen.wanted:g} %: at most {chosen.fpr_bound:.2g})"
    )
    return chosen.threshold, {"threshold_choice": asdict(chosen)}
