"""``--edits``: how far images may be edited without another answer, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.output import say

if TYPE_CHECKING:
    from torch import Tensor

    from percert.certify.editing.summary import EditSummary
    from percert.search import Copies, Store

#: Rows of an index's answer of which edits are proven.
FIRST_ROWS = 3

EditsOption = Annotated[
    bool,
    typer.Option(
        "--edits",
        help="Prove as well how far an image may be edited (darker, cropped, turned, compressed "
        "...) without another answer: up to a minute a candidate or reference, or each of an "
        "index's first rows.",
    ),
]


def show_edits(named: "Sequence[tuple[str, str]]", edits: "Sequence[EditSummary | None]") -> None:
    """What is proven of edits of each image: its name, what it stays, and the summary."""
    from percert.certify.editing.summary import summary_words

    for (name, stays), summary in zip(named, edits, strict=False):
        for sentence in [] if summary is None else summary_words(summary, name, stays):
            say(sentence)


def edits_of_copies(
    store: "Store", images: "Sequence[Tensor]", answers: "Sequence[Copies]"
) -> "list[list[EditSummary | None]]":
    """What is proven of edits of each query, for the first rows of its answer."""
    from percert.search.query.edits import copy_edits

    return [
        copy_edits(store, image[None], answer.results[:FIRST_ROWS])
        for image, answer in zip(images, answers, strict=True)
    ]


def rows_with_edits(
    answer: dict[str, Any], edits: "Sequence[EditSummary | None]"
) -> dict[str, Any]:
    """The JSON of an answer, ``edits`` among its first rows."""
    for row, summary in zip(answer["results"], edits, strict=False):
        row["edits"] = None if summary is None else asdict(summary)
    return answer


def show_copy_edits(answer: "Copies", edits: "Sequence[EditSummary | None]") -> None:
    """The same for people; a row stays within the threshold, or outside of it."""
    from percert.certify.editing.summary import copy_stays

    named = [
        (f"{answer.query} beside {match.path or match.id}", copy_stays(match.is_copy))
        for match in answer.results
    ]
    show_edits(named, edits)
