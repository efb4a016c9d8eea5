"""The pictures of an evaluation: 8-bit RGB, read when they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from percert.images import load_image, round_to_8bit

Bytes = npt.NDArray[np.uint8]
#: How many images are described together. With more, buffers outgrow what the allocator keeps, and
#: half of the time goes into fresh pages.
BATCH = 8


class PictureFiles(Sequence[Image.Image]):
    """Files as RGB pillow images; each is read whenever it is asked for, and kept nowhere.

    Read by :func:`percert.images.load_image`, whose :class:`~percert.images.ImageError` says what
    is wrong with a file; 16-bit files are rounded to 8 bits.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # a slice gives files again
        if isinstance(index, slice):
            return PictureFiles(self.paths[index])
        pixels = round_to_8bit(load_image(self.paths[index]))
        return as_pictures(pixels[None])[0]


def as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pillow images of one size as ``(n, 3, h, w)`` float32 in [0, 1].

    >>> as_tensor([Image.new("RGB", (2, 1), (255, 0, 51))])[0, :, 0, 0].tolist()
    [1.0, 0.0, 0.20000000298023224]
    """
    pixels = np.stack([np.asarray(image) for image in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def as_arrays(images: Tensor) -> list[Bytes]:
    """``(n, 3, h, w)`` in [0, 1] as 8-bit ``(h, w, 3)`` arrays, rounded to nearest."""
    # One by one: buffers of a whole batch would come fresh from the system every time.
    return [
        np.ascontiguousarray((255 * image).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0))
        for image in images.detach().cpu()
    ]


def as_pictures(images: Tensor) -> list[Image.Image]:
    """``(n, 3, h, w)`` in [0, 1] as RGB pillow images, rounded to nearest."""
    return [Image.fromarray(array) for array in as_arrays(images)]


def batches_of_one_size(
    pictures: Iterable[tuple[int, Image.Image]], batch: int = BATCH
) -> Iterator[tuple[list[int], list[Image.Image]]]:
    """Numbered pictures in batches of neighbours of one size, in their order.

    >>> wide, tall = Image.new("RGB", (2, 1)), Image.new("RGB", (1, 2))
    >>> [places for places, _ in batches_of_one_size(enumerate([wide, wide, tall, wide]))]
    [[0, 1], [2], [3]]
    """
    places: list[int] = []
    some: list[Image.Image] = []
    for place, picture in pictures:
        if some and (len(some) == batch or picture.size != some[0].size):
            yield places, some
            places, some = [], []
        places.append(place)
        some.append(picture)
    if some:
        yield places, some
