"""Which model of one set belongs to which of another."""

from typing import Literal

#: By name, by place in the files, or not at all.
Pairing = Literal["name", "order", "none"]


def pair_models(
    ours: list[str], theirs: list[str], sets: tuple[str, ...], pairs: Pairing
) -> tuple[list[str], list[str], bool]:
    """Both sets' models, paired one to one where the last value is True.

    By name, models belong together that are called the same once the name of their set is taken
    off: ``dro/seed-3`` and ``pgd/seed-3``, ``dro-3`` and ``pgd-3``. Sets of which one model has no
    partner are not paired at all: what is left would be a choice. By order, sets of the same size
    are paired as their files have them.

    >>> pair_models(["a/1", "a/2"], ["b/2", "b/1"], ("a", "b"), "name")
    (['a/1', 'a/2'], ['b/1', 'b/2'], True)
    >>> pair_models(["a/1", "a/2"], ["b/2", "b/3"], ("a", "b"), "name")[2]
    False
    """
    if pairs == "none" or len(ours) != len(theirs):
        return ours, theirs, False
    if pairs == "order":
        return ours, theirs, True
    partners = {_bare(model, sets[1]): model for model in theirs}
    found = [partners.get(_bare(model, sets[0])) for model in ours]
    matched = [model for model in found if model is not None]
    if len(set(matched)) < len(ours):
        return ours, theirs, False
    return ours, matched, True


def _bare(model: str, members: str) -> str:
    """The model's name without its set's, and without what joined them."""
    return model.removeprefix(f"{members}/").removeprefix(members).strip("/-_. ")
