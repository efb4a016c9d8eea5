"""Which extras a verb needs: looked for before it works, not after minutes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from percert.extras import require

V = TypeVar("V", bound=Callable[..., Any])


def needs(
    *extras: str, given: Mapping[str, str] | None = None, sometimes: tuple[str, ...] = ()
) -> Callable[[V], V]:
    """A verb that looks for its ``extras`` first, and for some only where an option is given.

    ``given`` maps options (their Python names) to an extra; ``sometimes`` are those that other
    options of it ask for, which are looked for where they are used. What is missing is a
    ``ValueError`` with the command that adds it. The verb's attributes ``extras`` and
    ``sometimes`` are what the documentation shows.
    """
    optional = dict(given or {})

    def decorate(verb: V) -> V:
        @functools.wraps(verb)
        def run(*args: Any, **kwargs: Any) -> Any:
            asked = [extra for option, extra in optional.items() if kwargs.get(option) is not None]
            for extra in (*extras, *asked):
                require("this", extra)
            return verb(*args, **kwargs)

        run.__dict__.update(extras=extras, sometimes=(*optional.values(), *sometimes))
        return cast(V, run)

    return decorate
