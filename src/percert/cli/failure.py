"""How a command fails: one line on stderr and exit status 1, never a traceback."""

import errno
import functools
import os
import re
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

from percert.arguments import ArgumentError
from percert.cli.option_names import option_names

_WORDS = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a folder, expected a file",
    errno.ENOTDIR: "no such file, for a part of the path is no folder",
    errno.EEXIST: "there is something else of that name",
    errno.EACCES: "no permission",
    errno.ENOSPC: "no space is left on the disk",
}
#: How torch begins what it says of a device.
_NO_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory", re.I)
_NO_DEVICE = re.compile(
    "CUDA|cuDNN|CUBLAS|CUSOLVER|NCCL|HIP|Found no NVIDIA|No CUDA", re.IGNORECASE
)
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
        except OSError as error:
            fail(os_error_words(error))
        except (ValueError, MemoryError) as error:
            fail(str(error) or type(error).__name__)
        except RuntimeError as error:
            words = device_error_words(error)
            if words is None:
                raise
            fail(words)

    return run


def os_error_words(error: OSError) -> str:
    """What the system says of a file, as all other errors are said: the path first, then why.

    >>> os_error_words(FileNotFoundError(2, "No such file or directory", "a.csv"))
    'a.csv: no such file or folder'
    """
    name = error.filename2 if error.filename2 is not None else error.filename
    if name is None or error.strerror is None:
        return str(error) or type(error).__name__
    why = _WORDS.get(error.errno or 0, error.strerror[:1].lower() + error.strerror[1:])
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {why}"


def device_error_words(error: RuntimeError) -> str | None:
    """What torch says of a device that cannot work, in a line; ``None`` for any other defect.

    >>> device_error_words(RuntimeError("CUDA error: no kernel image is available\\nFor debugging"))
    'the device cannot do this: CUDA error: no kernel image is available'
    >>> device_error_words(RuntimeError("shapes cannot be multiplied")) is None
    True
    """
    first = str(error).strip().split("\n")[0]
    if _NO_MEMORY.search(first):
        return f"not enough memory on the device; a smaller batch may do ({first[:200]})"
    if _NO_DEVICE.match(first):
        return f"the device cannot do this: {first[:300]}"
    return None


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
