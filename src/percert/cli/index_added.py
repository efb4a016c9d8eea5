"""What ``percert index add`` says when it is done."""

import json
from typing import TYPE_CHECKING, Any

import typer

from percert.cli.index_partner import filled_json, show_filled
from percert.cli.index_show import pruned_json, show_pruned, warn_unreachable
from percert.cli.output import emit_json, note_bad, note_left_out, say

if TYPE_CHECKING:
    from percert.search import AddOutcome, Indexed, Store


def print_outcome(outcome: "AddOutcome") -> None:
    """A line of JSON for one image that is stored."""
    was = {} if outcome.was is None else {"was": outcome.was}
    line = {"what": outcome.what, "id": outcome.id, "path": outcome.path, **was}
    typer.echo(json.dumps(line))


def report_added(found: "Indexed", as_json: bool, each: bool) -> None:
    """What came of adding, for people or as JSON; the exit status is 1 where an image is bad."""
    store, pruned = found.store, found.pruned
    unread = [(one.path, one.reason or "") for one in found.bad]
    if as_json:
        from percert.images.walk import listed, listed_left_out

        answer: dict[str, Any] = {"store": store.path, **found.counts, "images": store.count}
        answer["views"] = list(store.views)
        answer |= filled_json(store, found.partner)
        answer["bad"] = listed(unread)
        answer["left_out"] = listed_left_out(found.left_out)
        emit_json({**answer, **pruned_json(pruned)})
    elif each:
        for path in pruned.files if pruned else ():
            typer.echo(json.dumps({"what": "forgotten", "path": path}))
    else:
        if len(store.views) > 1:
            say(
                f"{len(store.views)} views an image, each an embedding and {_kib(store):.1f} KiB: "
                f"{', '.join(store.views)}."
            )
        if pruned is not None:
            show_pruned(pruned)
        said = ", ".join(f"{count} {what}" for what, count in found.counts.items())
        say(f"{said}; the store holds {store.count} images.")
        show_filled(store, found.partner)
    if pruned is not None:
        warn_unreachable(pruned.unreachable)
    note_left_out(found.left_out)
    note_bad(unread, f"of {found.total} images could not be added")
    if found.bad:
        raise typer.Exit(1)


def _kib(store: "Store") -> float:
    """What a view of an image takes in the store."""
    header = store.tables.header
    return ((2 if header.half else 4) * header.metric.width + 32) / 1024
