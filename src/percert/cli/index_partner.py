"""The partner of a store on the command line: which it is, and what ``index add`` does for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from percert.cli.output import say

if TYPE_CHECKING:
    from percert.metrics.descriptor import Descriptor
    from percert.search import Store
    from percert.search.partner.fill import Filled

PartnerOption = Annotated[
    str | None,
    typer.Option(
        "--partner",
        metavar="NAME[=FILE]|none",
        help="The store's partner, where its weights are in a file; none leaves it out.",
        show_default=False,
    ),
]
NewPartnerOption = Annotated[
    str | None,
    typer.Option(
        "--partner",
        metavar="NAME[=FILE]|none",
        help="A second metric, which finds harder edits and proves nothing, such as sscd or "
        "efficientnet-lite0-pooled: it gets a row for each stored image that has none. A store "
        "that has one takes it by itself; none leaves it out this time.",
        show_default=False,
    ),
]
StrangersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--strangers",
        metavar="DIR",
        help="Pictures that have nothing to do with the collection, 200 or more: the partner's "
        "thresholds are made by them, or made anew. sscd comes with thresholds.",
        show_default=False,
    ),
]


def partner_for_store(text: str | None, device: str) -> "Descriptor | Literal[False] | None":
    """The partner that is named, ``False`` for none, or ``None``: the store's, by its name."""
    from percert.metrics.descriptor import create_descriptor

    if text is None:
        return None
    return False if text == "none" else create_descriptor(text, device)


def filled_json(store: "Store", filled: "Filled") -> dict[str, Any]:
    """What ``index add --json`` says of the partner; nothing where there is none."""
    partner = store.partner.id
    if partner is None:
        return {}
    without = [{"path": path, "reason": reason} for path, reason in filled.bad]
    return {"partner": {"metric": partner.name, "added": filled.added, "without": without}}


def show_filled(store: "Store", filled: "Filled") -> None:
    """The same for people."""
    partner = store.partner.id
    if partner is not None:
        without = f"; {len(filled.bad)} images have none" if filled.bad else ""
        say(f"{filled.added} rows of the partner {partner.name} added{without}.")
