"""What can be chosen of duplicates, by its names: which file to keep, what is done with copies."""

from typing import Literal, TypeAlias, get_args

#: Which file of a group to keep; :func:`percert.search.deduplicate.files.preference` says how each
#: decides.
Keep: TypeAlias = Literal["best", "largest", "oldest", "newest"]
KEEPS: tuple[Keep, ...] = get_args(Keep)

#: ``"delete"`` puts copies into a trash folder beside them, ``"hardlink"`` makes a file with the
#: same bytes another name of the kept one, ``"move"`` moves copies to another folder.
Action: TypeAlias = Literal["delete", "hardlink", "move"]
ACTIONS: tuple[Action, ...] = get_args(Action)
