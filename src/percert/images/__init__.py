"""Images in and out: safe decoding, lossless saving, 8-bit rounding, and linear resizing."""

from percert.images.formats import SUFFIXES, ImageError
from percert.images.insets import Inset, find_insets
from percert.images.load import MAX_MEMORY, load_image
from percert.images.resize import Resize
from percert.images.save import round_to_8bit, save_image
from percert.images.walk import (
    BadImage,
    FoundImages,
    LeftOut,
    LoadedImages,
    find_images,
    iter_images,
    load_images,
    search_images,
)

__all__ = [
    "MAX_MEMORY",
    "SUFFIXES",
    "BadImage",
    "FoundImages",
    "ImageError",
    "Inset",
    "LeftOut",
    "LoadedImages",
    "Resize",
    "find_images",
    "find_insets",
    "iter_images",
    "load_image",
    "load_images",
    "round_to_8bit",
    "save_image",
    "search_images",
]
