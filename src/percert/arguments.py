"""Messages that name arguments: in Python's words here, in those of each face where one shows them.

A function's ``drop_missing`` is ``--drop-missing`` on the command line. The library does not know
who calls it, so a message keeps which of its words are arguments, and a face says them its own way.
"""

from collections.abc import Callable
from typing import final


@final
class Argument(str):
    """The name of an argument, as a word of a message."""


@final
class Wording(str):
    """A message made of ``parts``, of which some are :class:`Argument`.

    >>> text = Wording("leave them out with ", Argument("drop_missing"))
    >>> text
    'leave them out with drop_missing'
    >>> text.said(lambda name: "--" + name.replace("_", "-"))
    'leave them out with --drop-missing'
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> "Wording":
        self = super().__new__(cls, "".join(parts))
        self.parts = parts
        return self

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override]  # as many as were given
        return self.parts

    def said(self, name: Callable[[str], str]) -> str:
        """The message, its arguments as ``name`` calls them."""
        return "".join(name(part) if isinstance(part, Argument) else part for part in self.parts)


class ArgumentError(ValueError):
    """A ``ValueError`` whose message names arguments; ``parts`` as those of :class:`Wording`.

    >>> str(ArgumentError("give a file with ", Argument("weights")))
    'give a file with weights'
    """

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.wording = Wording(*parts)

    def __str__(self) -> str:
        return str(self.wording)
