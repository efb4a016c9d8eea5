"""Whether a resize is as long as it says: its claimed norm against its own singular values."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

#: How far float64 may put a resize beside the product of its two matrices.
NEAR = 1e-9


class ResizeLike(Protocol):
    """What is audited: a map of images to images of ``size``, and the norm that it claims."""

    @property
    def size(self) -> tuple[int, int]: ...

    def __call__(self, images: Tensor) -> Tensor: ...

    def norm(self, resolution: tuple[int, int]) -> float: ...


def audited_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes (height, width) below and above ``size``, square and not, with and without remainders.

    >>> audited_sizes((64, 64))
    [(33, 42), (81, 96), (64, 112), (193, 131), (128, 128)]
    """
    height, width = size
    return [
        (height // 2 + 1, max(width * 2 // 3, 1)),
        (height * 5 // 4 + 1, width * 3 // 2),
        (height, width * 7 // 4),
        (3 * height + 1, 2 * width + 3),
        (2 * height, 2 * width),
    ]


def steepest_resize(
    resize: ResizeLike, sizes: Iterable[tuple[int, int]], generator: torch.Generator
) -> float:
    """The largest norm of ``resize`` over ``sizes``, in units of the norm that it claims: 1.

    Its matrices of rows and of columns are read off from what it does to images that need no
    resizing in the other direction. That the two together are all it does is checked on a random
    image of each size; infinite where they are not.

    >>> from percert.images import Resize
    >>> round(steepest_resize(Resize((8, 8)), [(12, 20)], torch.Generator()), 9)
    1.0
    """
    worst = 0.0
    for height, width in sizes:
        rows = _line_matrix(resize, height)
        columns = _line_matrix(_Turned(resize), width)
        image = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)
        if not torch.allclose(resize(image), rows @ image @ columns.T, atol=NEAR):
            return float("inf")
        norm = torch.linalg.matrix_norm(rows, 2) * torch.linalg.matrix_norm(columns, 2)
        worst = max(worst, float(norm) / resize.norm((height, width)))
    return worst


def _line_matrix(resize: "ResizeLike | _Turned", inside: int) -> Tensor:
    """The matrix by which every column of an image of ``inside`` rows is multiplied."""
    width = resize.size[1]
    identity = torch.eye(inside, dtype=torch.float64)
    # A column an input pixel, as many columns as fit the width at once.
    parts = [
        resize(F.pad(part, (0, width - part.shape[1]))[None, None])[0, 0, :, : part.shape[1]]
        for part in torch.split(identity, width, dim=1)
    ]
    return torch.cat(parts, 1)


class _Turned:
    """A resize of transposed images: its rows are the columns of the other."""

    def __init__(self, resize: ResizeLike) -> None:
        self._resize: Callable[[Tensor], Tensor] = resize
        self.size = (resize.size[1], resize.size[0])

    def __call__(self, images: Tensor) -> Tensor:
        return self._resize(images.mT).mT
