"""Recipes as TOML files: frozen dataclasses, and nothing that they do not know."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from percert.check import did_you_mean
from percert.toml_file import from_table, read_toml

T = TypeVar("T")

_PACKAGE = Path(__file__).parents[1]
#: The recipes that come with percert: in an installed one, and in a checkout.
RECIPES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def find_recipe(recipe: str | os.PathLike[str]) -> Path:
    """The file of a recipe: ``recipe`` is its path, or the name of one that comes with percert.

    Raises ``ValueError``, with the names that there are, where it is neither.

    >>> find_recipe("copies").name
    'copies.toml'
    """
    path = Path(recipe)
    if path.exists():
        return path
    known = {file.stem: file for folder in RECIPES for file in folder.glob("*.toml")}
    if str(recipe) in known:
        return known[str(recipe)]
    near = did_you_mean(path.stem, known)
    raise ValueError(
        f"{recipe}: no such recipe{near}; a file, or one of percert's: {', '.join(sorted(known))}"
    )


def read_recipe_file(kind: type[T], recipe: str | os.PathLike[str]) -> T:
    """The recipe of dataclass ``kind`` in a TOML file; what it leaves out keeps its default.

    ``recipe`` is as for :func:`find_recipe`. Tables are nested dataclasses. Raises ``ValueError``,
    which names the file and the table, for a file that is not there or no TOML, a key that the
    recipe does not have, and a value of another type.
    """
    path = find_recipe(recipe)
    return from_table(kind, read_toml(path), str(path))


def with_values(recipe: T, values: Mapping[str, Any]) -> T:
    """``recipe`` with other ``values`` by their dotted names; ``None`` leaves what the recipe has.

    >>> from percert.training.dro import DRORecipe
    >>> found = with_values(DRORecipe(models=2), {"models": None, "training.passes": 1})
    >>> found.models, found.training.passes
    (2, 1)
    """
    tables: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        if value is not None and table:
            tables.setdefault(table, {})[key] = value
        elif value is not None:
            own[key] = value
    own |= {table: replace(getattr(recipe, table), **more) for table, more in tables.items()}
    return replace(recipe, **own)  # type: ignore[type-var]  # always a dataclass
