"""What an image file says of itself, read as carefully as its pixels are and without them."""

import os
from dataclasses import dataclass

from PIL import Image

from percert.images.load import exif_tags, memory_limit, read_encoded, with_opened
from percert.images.structure import PngChunks

#: EXIF's fields for the maker and the model of a camera, and for when it took the picture.
_FROM_A_CAMERA = (271, 272, 306)


@dataclass(frozen=True)
class Header:
    """Whether a file says which camera it is from or when it was taken, and the steps of a JPEG's
    quantisation; none of another format.
    """

    from_camera: bool
    quantisation: tuple[int, ...]


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of the image file ``path``. :class:`percert.images.ImageError` for one that
    :func:`percert.images.load_image` refuses by its header.
    """
    limit = memory_limit()
    return with_opened(read_encoded(path, limit), path, (limit, None), _header)


def _header(image: Image.Image, chunks: PngChunks | None) -> Header:
    tables = getattr(image, "quantization", None) or {}
    steps = tuple(step for table in tables.values() for step in table)
    return Header(any(exif_tags(image, _FROM_A_CAMERA)), steps)
