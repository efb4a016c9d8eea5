"""Where training images come from: folders, parquet files, WebDataset tars; and in which order."""

from percert.training.sources.loader import Loader
from percert.training.sources.open import open_images
from percert.training.sources.order import Cursor, ShuffledOrder
from percert.training.sources.source import Entry, ImageSource

__all__ = ["Cursor", "Entry", "ImageSource", "Loader", "ShuffledOrder", "open_images"]
