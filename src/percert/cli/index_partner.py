"""The partner of a store on the command line: which it is, and what ``index add`` does for it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from percert.cli.command import complain
from percert.cli.output import say
from percert.cli.progress import Bar

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


def set_partner(
    store: "Store", partner: "Descriptor | Literal[False] | None", strangers: list[Path] | None
) -> None:
    """Give the store the partner that is named, and say what that changes of one it had.

    What is missing of the partner it has is said here, before anything is added.
    """
    if partner:
        with Bar() as show:
            now, before = store.partner.set(partner, strangers, partial(show, "strangers"))
        if before is not None and before != now.rule:
            complain(
                f"partner {now.name}: one in a million pairs of strangers is now at a score of "
                f"{now.rule.level(1e-6):.4f} or more, {before.level(1e-6):.4f} before; all "
                "thresholds are made anew"
            )
    if store.partner.id is not None:
        store.partner.descriptor()


def fill_partner(store: "Store") -> "Filled":
    """Give each image without one a row of the partner."""
    with Bar() as show:
        return store.partner.fill(progress=partial(show, "partner"))


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
