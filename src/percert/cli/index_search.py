"""``percert index search`` and ``copies``: what a store is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.edits import EditsOption, edits_of_copies, rows_with_edits, show_copy_edits
from percert.cli.index_partner import PartnerOption, partner_for_store
from percert.cli.index_show import show_copies, show_nearest
from percert.cli.options import (
    AddressOption,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    MaxMemoryOption,
    RayWorkersOption,
    StoreMetricOption,
    StoreOption,
    budget_of,
    metric_for_store,
)
from percert.cli.output import show_result
from percert.cli.progress import with_progress
from percert.reports.budgets import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from percert.certify.editing.summary import EditSummary
    from percert.images import LeftOut
    from percert.search import Copies, Nearest, Rule, Store

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


def _rate(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"expected a rate between 0 and 1, such as 1e-3, found {value:g}")
    return value


WrongOption = Annotated[
    float | None,
    typer.Option(
        "--wrong",
        metavar="RATE",
        callback=_rate,
        help="How many wrong answers are bearable: the share of queries that are copies of nothing "
        "and get an answer all the same, from the store as it is. By default 1e-3.",
        show_default=False,
    ),
]
OwnThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="T",
        min=0,
        max=3,
        help="In place of --wrong: images up to this distance are copies, less half of what the "
        "stored one has in common with a background, where the store keeps one.",
        show_default=False,
    ),
]


@one_line_errors
@needs("search", sometimes=("ray",))
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
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: RayWorkersOption = None,
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

    percert index search uploads/ --store s3://bucket/train --engine ray --address auto
    """
    answers: list[Nearest] = []
    bad: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    where = store, metric_name, checkpoint, device, partner, engine, address, workers
    with open_asked(*where) as opened:
        for names, pixels, length in _queries(images, eps, bad, left_out):
            answers += opened.search(pixels, k, length, names=names)
    for answer in () if as_json else answers:
        show_nearest(answer)
    _show([answer.to_json() for answer in answers], bad, left_out, as_json, store)


@one_line_errors
@needs("search", sometimes=("ray",))
def copies(
    images: QueriesArgument,
    store: StoreOption,
    wrong: WrongOption = None,
    threshold: OwnThresholdOption = None,
    eps: TamperOption = None,
    with_edits: EditsOption = False,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    partner: PartnerOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: RayWorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which stored images is each IMAGE a copy of? None is missing, by proof.

    Certain copies stay copies for every change of IMAGE of up to --eps; possible ones could be
    copies after such a change, and no image that is not listed could. Each stored image has a
    threshold of its own, strict where it resembles everything; --wrong sets them all. What the
    store's partner finds besides is found, not certain; where both find nothing, nothing here
    resembles IMAGE. --json gives an answer an IMAGE in the list "answers".

    [bold]Examples[/bold]

    percert index copies query.jpg --store photos.store

    percert index copies uploads/ --store photos.store --wrong 1e-5 --eps 4 --json
    """
    answers: list[Copies] = []
    edits: list[list[EditSummary | None]] = []
    bad: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    where = store, metric_name, checkpoint, device, partner, engine, address, workers
    with open_asked(*where) as opened:
        rule = rule_asked(opened, threshold, wrong)
        for names, pixels, length in _queries(images, eps, bad, left_out):
            found = opened.copies(pixels, rule, length, names=names)
            answers += found
            edits += edits_of_copies(opened, pixels, found) if with_edits else [[]] * len(found)
    pairs = list(zip(answers, edits, strict=True))
    for answer, of_rows in () if as_json else pairs:
        show_copies(answer)
        show_copy_edits(answer, of_rows)
    told = [rows_with_edits(answer.to_json(), of_rows) for answer, of_rows in pairs]
    _show(told, bad, left_out, as_json, store)


@contextmanager
def open_asked(
    store: str,
    name: str | None,
    checkpoint: Path | None,
    device: str,
    partner: str | None,
    engine: str,
    address: str | None,
    workers: int | None,
) -> "Iterator[Store]":
    """The store, with its metric and the partner that is asked for, asked here or on Ray."""
    from percert.search import open_store

    for option, value in (("--address", address), ("--workers", workers)):
        if value is not None and engine != "ray":
            raise typer.BadParameter("is for --engine ray", param_hint=option)
    metric = metric_for_store(store, name, checkpoint, device)
    beside = partner_for_store(partner, device)
    opened = open_store(store, metric, create=False, partner=beside)
    if engine == "local":
        yield opened
    else:
        with opened.on_ray(address=address, workers=workers, device=device):
            yield opened


def _queries(
    images: list[Path], eps: Budget | None, bad: list[tuple[str, str]], left_out: "list[LeftOut]"
) -> "Iterator[tuple[list[str], list[Tensor], float | None]]":
    """Names and pixels of images that fit into one pass, and the l2 length that ``eps`` is in each.

    What cannot be read is added to ``bad``, and what the search leaves out to ``left_out``.
    """
    from percert.runs.engine import Step, batches
    from percert.runs.items import Sample, items_at, read_samples

    def length(one: Sample) -> float | None:
        return None if eps is None else eps.length((one.image.shape[-2], one.image.shape[-1]))

    items = items_at(images, left_out)
    shown = with_progress(read_samples(items), len(items), "searching")
    for batch in batches(shown, length, TOGETHER, in_order=True):
        if isinstance(batch, Step):
            bad.append((str(batch.bad), batch.reason))
        else:
            yield [one.item.name for one in batch], [one.image for one in batch], length(batch[0])


def _show(
    answers: list[dict[str, Any]],
    bad: list[tuple[str, str]],
    left_out: "list[LeftOut]",
    as_json: bool,
    store: str,
) -> None:
    """The JSON answer, a list of one query as of many, and what could not be read."""
    from percert.images.walk import listed, listed_left_out
    from percert.runs.engine import RunResult
    from percert.search.own_ids import with_own_ids

    if as_json:
        answers = [with_own_ids(one, store) for one in answers]
    answer = {"answers": answers, "bad": listed(bad), "left_out": listed_left_out(left_out)}
    show_result(RunResult(answer, (), bad, left_out=left_out), as_json=as_json)


def rule_asked(store: "Store", threshold: float | None, wrong: float | None) -> "Rule":
    """The rule that is asked for; which it is, where it is not given, on stderr."""
    if threshold is not None and wrong is not None:
        raise typer.BadParameter("takes the place of --wrong: give one", param_hint="--threshold")
    rule = store.rule(threshold, wrong=wrong)
    if threshold is None and not store.has_table:
        complain(
            "this metric has no table of strangers for such a store: the threshold "
            f"{rule.threshold:.4g} is by what is stored, taken to be no copies of each other"
        )
    return rule
