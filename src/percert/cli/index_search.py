"""``percert index search`` and ``copies``: what a store is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain, needs, one_line_errors, with_shared_options
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
from percert.cli.progress import Bar
from percert.reports.budgets import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from percert.certify.editing.summary import EditSummary
    from percert.runs.queries import FileAnswers
    from percert.search import Copies, Rule, Store

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


@dataclass(frozen=True)
class StoreAccess:
    """The store that is asked, by which metric and partner, here or on Ray: options in common."""

    store: StoreOption
    metric_name: StoreMetricOption = None
    checkpoint: CheckpointOption = None
    partner: PartnerOption = None
    device: DeviceOption = "auto"
    engine: EngineOption = "local"
    address: AddressOption = None
    workers: RayWorkersOption = None
    as_json: JsonOption = False

    @contextmanager
    def opened(self) -> "Iterator[Store]":
        """The store, with its metric and the partner that is asked for."""
        from percert.search import open_store

        for option, value in (("--address", self.address), ("--workers", self.workers)):
            if value is not None and self.engine != "ray":
                raise typer.BadParameter("is for --engine ray", param_hint=option)
        metric = metric_for_store(self.store, self.metric_name, self.checkpoint, self.device)
        beside = partner_for_store(self.partner, self.device)
        store = open_store(self.store, metric, create=False, partner=beside)
        if self.engine == "local":
            yield store
        else:
            with store.on_ray(address=self.address, workers=self.workers, device=self.device):
                yield store


@one_line_errors
@needs("search", sometimes=("ray",))
@with_shared_options
def search(
    images: QueriesArgument,
    where: StoreAccess,
    k: Annotated[int, typer.Option("-k", min=1, help="How many of the nearest.")] = 10,
    eps: TamperOption = None,
    max_memory: MaxMemoryOption = None,
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
    from percert.runs.queries import ask_files

    with where.opened() as store, Bar() as show:
        found = ask_files(
            images,
            lambda some, length, names: store.search(some, k, length, names=names),
            eps,
            progress=show,
        )
    for answer in () if where.as_json else found.answers:
        show_nearest(answer)
    _show([answer.to_json() for answer in found.answers], found, where)


@one_line_errors
@needs("search", sometimes=("ray",))
@with_shared_options
def copies(
    images: QueriesArgument,
    where: StoreAccess,
    wrong: WrongOption = None,
    threshold: OwnThresholdOption = None,
    eps: TamperOption = None,
    with_edits: EditsOption = False,
    insets: Annotated[
        bool,
        typer.Option(
            "--insets",
            help="Ask for pictures inside IMAGE as well: screenshots, collages, frames. Up to 3 of "
            "its rectangles are, at the same rate of wrong answers in all.",
        ),
    ] = False,
    max_memory: MaxMemoryOption = None,
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

    percert index copies screenshot.png --store photos.store --insets
    """
    from percert.runs.queries import ask_files

    with where.opened() as store, Bar() as show:
        rule = rule_asked(store, threshold, wrong, insets)

        def ask(
            some: "list[Tensor]", length: float | None, names: list[str]
        ) -> "list[tuple[Copies, list[EditSummary | None]]]":
            answers = store.copies(some, rule, length, names=names, insets=insets)
            edits = edits_of_copies(store, some, answers) if with_edits else [[]] * len(answers)
            return list(zip(answers, edits, strict=True))

        found = ask_files(images, ask, eps, progress=show)
    for answer, of_rows in () if where.as_json else found.answers:
        show_copies(answer)
        show_copy_edits(answer, of_rows)
    told = [rows_with_edits(answer.to_json(), of_rows) for answer, of_rows in found.answers]
    _show(told, found, where)


def _show(answers: list[dict[str, Any]], found: "FileAnswers[Any]", where: StoreAccess) -> None:
    """The JSON answer, a list of one query as of many, and what could not be read."""
    from percert.images.walk import listed, listed_left_out
    from percert.runs.engine import RunResult
    from percert.search.own_ids import with_own_ids

    if where.as_json:
        answers = [with_own_ids(one, where.store) for one in answers]
    left_out = listed_left_out(found.left_out)
    answer = {"answers": answers, "bad": listed(found.bad), "left_out": left_out}
    result = RunResult(answer, (), found.bad, left_out=found.left_out)
    show_result(result, as_json=where.as_json)


def rule_asked(
    store: "Store", threshold: float | None, wrong: float | None, insets: bool = False
) -> "Rule":
    """The rule that is asked for; which it is, where it is not given, on stderr."""
    if threshold is not None and wrong is not None:
        raise typer.BadParameter("takes the place of --wrong: give one", param_hint="--threshold")
    rule = store.rule(threshold, wrong=wrong, insets=insets)
    if threshold is None and not store.has_table:
        complain(
            "this metric has no table of strangers for such a store: the threshold "
            f"{rule.threshold:.4g} is by what is stored, taken to be no copies of each other"
        )
    return rule
