"""Images in and out: safe decoding, lossless saving, 8-bit rounding, and linear resizing."""

from percert.images.batch import (
    BadImage,
    LoadedImages,
    iter_images,
    load_images,
)
from percert.images.error import ImageError
from percert.images.formats import SUFFIXES
from percert.images.load import load_image
from percert.images.memory import MAX_MEMORY
from percert.images.resize import Resize
from percert.images.rounding import round_to_8bit
from percert.images.save import save_image
from percert.images.walk import FoundImages, LeftOut, find_images, search_images

__all__ = [
    "MAX_MEMORY",
    "SUFFIXES",
    "BadImage",
    "FoundImages",
    "ImageError",
    "LeftOut",
    "LoadedImages",
    "Resize",
    "find_images",
    "iter_images",
    "load_image",
    "load_images",
    "round_to_8bit",
    "save_image",
    "search_images",
]
