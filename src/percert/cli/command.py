"""What every command has: help from its docstring, the extras it needs, errors in one line."""

import errno
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar, cast, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from percert.check import ArgumentError, printable
from percert.extras import require


def option_names(verb: Callable[..., Any]) -> Callable[[str], str]:
    """From the name of an argument to the option of ``verb``, or, where it has none, to itself.

    >>> from percert.cli.compare import compare
    >>> name = option_names(compare)
    >>> name("metric"), name("json"), name("drop_missing")
    ('--metric', '--json', 'drop_missing')
    """
    known = {}
    for parameter in inspect.signature(verb).parameters.values():
        for option in get_args(parameter.annotation):
            if isinstance(option, OptionInfo):
                usual = "--" + parameter.name.replace("_", "-")
                # Within Annotated the first name is where a default would be.
                names = (option.default, *(option.param_decls or ()))
                written = [str(flag) for flag in names if str(flag).startswith("--")]
                flag = (written or [usual])[0].split("/")[0]
                known[flag.removeprefix("--").replace("-", "_")] = flag
    return lambda argument: known.get(argument, argument)


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


def command_line() -> list[str]:
    """The command as it was given, which makes a run again: for ``run.json`` and reports."""
    return ["percert", *sys.argv[1:]]


def complain(message: str) -> None:
    """Say ``message`` on stderr, in one line whatever it holds."""
    typer.echo(f"percert: {printable(message)}", err=True)


def warn(message: str) -> None:
    """:func:`complain` of something that does not end the command."""
    complain(f"warning: {message}")


V = TypeVar("V", bound=Callable[..., Any])


def with_shared_options(verb: V) -> V:
    """A ``verb`` of whose parameters some are dataclasses: each field is an option of the verb.

    Verbs that have many options in common declare them once, as the fields of such a dataclass,
    and get it whole.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Place:
    ...     folder: str
    ...     depth: int = 1
    >>> def walk(name: str, place: Place) -> str:
    ...     return f"{name} in {place.folder}, {place.depth} deep"
    >>> shared = with_shared_options(walk)
    >>> shared(name="a", folder="b"), list(inspect.signature(shared).parameters)
    ('a in b, 1 deep', ['name', 'folder', 'depth'])
    """
    groups: dict[str, Callable[..., Any]] = {}
    options: list[inspect.Parameter] = []
    hints = get_type_hints(verb, include_extras=True)
    for one in inspect.signature(verb).parameters.values():
        kind = hints[one.name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[one.name] = kind
            own = get_type_hints(kind, include_extras=True)
            options += [_option(field, own[field.name]) for field in fields(kind)]
        else:
            options.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))

    @functools.wraps(verb)
    def run(**given: Any) -> Any:
        for name, kind in groups.items():
            own = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass
            given[name] = kind(**{field: given.pop(field) for field in own if field in given})
        return verb(**given)

    run.__dict__["__signature__"] = inspect.Signature(options)
    run.__annotations__ = {one.name: one.annotation for one in options}
    return cast(V, run)


def _option(field: "Field[Any]", annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=annotation)


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


def flowing(docstring: str | None) -> str:
    r"""The paragraphs of a docstring, each in one line, for the terminal to wrap.

    >>> flowing("One.\n\n    Two\n    and three.")
    'One.\n\nTwo and three.'
    """
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
