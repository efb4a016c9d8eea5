"""What a search for images left out of folders, told at the end."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from percert.cli.failure import complain

if TYPE_CHECKING:
    from percert.images import LeftOut


def note_left_out(left_out: "Sequence[LeftOut]") -> None:
    """Say on stderr how many of which kind were left out; nothing where there were none."""
    kinds = Counter(one.kind for one in left_out)
    if kinds:
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        complain(f"left out, for they are no images that are read: {counted}")


def with_left_out(left_out: "Sequence[LeftOut]") -> dict[str, Any]:
    """What was left out, by path and kind, as a part of a JSON answer."""
    from percert.images.names import printable_path

    listed = [{"path": printable_path(one.path), "kind": one.kind} for one in left_out]
    return {"left_out": listed}
