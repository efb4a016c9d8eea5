"""What ``percert index add`` says when it is done."""

import json
from typing import TYPE_CHECKING, Any

import typer

from percert.cli.index_partner import filled_json, show_filled
from percert.cli.index_show import pruned_json, show_pruned, warn_unreachable
from percert.cli.output import emit_json, note_bad, note_left_out, say

if TYPE_CHECKING:
    from percert.images import LeftOut
    from percert.search import AddOutcome, Pruned, Store
    from percert.search.partner.fill import Filled


def report_added(
    store: "Store",
    counts: dict[str, int],
    bad: "list[AddOutcome]",
    left_out: "list[LeftOut]",
    pruned: "Pruned | None",
    total: int,
    as_json: bool,
    each: bool,
    filled: "Filled",
) -> None:
    """What came of adding, for people or as JSON; the exit status is 1 where an image is bad."""
    unread = [(one.path, one.reason or "") for one in bad]
    if as_json:
        answer: dict[str, Any] = {"store": store.path, **counts, "images": store.count}
        answer["views"] = list(store.views)
        answer |= filled_json(store, filled)
        from percert.images.walk import listed, listed_left_out

        answer["bad"] = listed(unread)
        answer["left_out"] = listed_left_out(left_out)
        emit_json({**answer, **pruned_json(pruned)})
    elif each:
        for path in pruned.files if pruned else ():
            typer.echo(json.dumps({"what": "forgotten", "path": path}))
    else:
        if pruned is not None:
            show_pruned(pruned)
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        say(f"{said}; the store holds {store.count} images.")
        show_filled(store, filled)
    if pruned is not None:
        warn_unreachable(pruned.unreachable)
    note_left_out(left_out)
    note_bad(unread, f"of {total} images could not be added")
    if bad:
        raise typer.Exit(1)
