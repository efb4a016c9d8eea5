"""Pictures inside a query, asked beside it: what they are copies of."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from percert.images.insets import MOST, find_insets
from percert.search.query.answers import query_names
from percert.search.query.results import Copies, InsetCopies

#: As many pictures are asked for one query at most, itself and what is inside.
PICTURES = 1 + MOST


def with_insets(
    images: Sequence[Tensor],
    answers: Sequence[Copies],
    ask: Callable[[Sequence[Tensor], Sequence[str]], Sequence[Copies]],
) -> list[Copies]:
    """The answers with the copies of what is found inside each image, asked in one pass."""
    inside = [find_insets(image) for image in images]
    parts = [one.cut(image) for image, some in zip(images, inside, strict=True) for one in some]
    found = iter(ask(parts, query_names(None, len(parts))) if parts else ())
    return [
        replace(answer, insets=tuple(InsetCopies(one, next(found).results) for one in some))
        for answer, some in zip(answers, inside, strict=True)
    ]
