"""What the command line calls an argument of the library."""

import inspect
from collections.abc import Callable
from typing import Any, get_args

from typer.models import OptionInfo


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
