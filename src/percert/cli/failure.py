"""How a command fails: one line on stderr and exit status 1, never a traceback."""

import functools
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

from percert.arguments import ArgumentError
from percert.cli.option_names import option_names

P = ParamSpec("P")
R = TypeVar("R")


def one_line_errors(verb: Callable[P, R]) -> Callable[P, R]:
    """``verb``, with what bad input raises turned into one line on stderr and exit status 1.

    Other exceptions are defects of percert, and keep their traceback.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(*args, **kwargs)
        except BrokenPipeError:
            raise
        except ArgumentError as error:
            fail(error.wording.said(option_names(verb)))
        except (ValueError, OSError, MemoryError) as error:
            fail(str(error) or type(error).__name__)

    return run


def fail(message: str) -> NoReturn:
    """Say ``message`` in one line on stderr, and exit with status 1."""
    complain(f"error: {message}")
    raise typer.Exit(1)


def complain(message: str) -> None:
    """Say ``message`` on stderr, in one line whatever it holds."""
    typer.echo(f"percert: {printable(message)}", err=True)


def printable(text: object) -> str:
    r"""``text`` with everything that a terminal would act upon escaped: file names may hold it.

    >>> printable("holiday\n[red].png")
    'holiday\\n[red].png'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )
