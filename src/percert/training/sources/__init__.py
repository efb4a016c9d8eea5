"""Where training images come from: folders, parquet files, WebDataset tars; and in which order."""

from percert.training.sources.images import Entry, ImageSource, open_images
from percert.training.sources.loader import Cursor, Loader, ShuffledOrder

__all__ = ["Cursor", "Entry", "ImageSource", "Loader", "ShuffledOrder", "open_images"]
