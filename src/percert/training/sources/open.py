"""A source of images from what names it in a recipe."""

import glob
import re
from pathlib import Path

from percert.training.sources.folder import FolderSource
from percert.training.sources.parquet import ParquetSource
from percert.training.sources.source import ImageSource
from percert.training.sources.webdataset import TarSource

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def open_images(spec: str, root: Path, *, mix: int = 4) -> ImageSource:
    """The source at ``spec``, counted from the folder ``root``.

    A folder of images (of any depth); a folder, file or pattern (``train-*.parquet``) of parquet
    files; the same of tars, where ``train-{0000..0146}.tar`` is a range as WebDataset writes it.
    ``mix`` is how many shards are shuffled together. Raises ``ValueError`` where nothing is found.
    """
    if not spec:
        raise ValueError("images: expected a folder, parquet files or tars, found ''")
    place = root / spec
    if place.is_dir():
        files = sorted(place.glob("*.parquet")) or sorted(place.glob("*.tar"))
        if not files:
            return FolderSource(place)
    else:
        files = _expand(str(place))
    if not files:
        raise ValueError(f"{place}: no such folder or files")
    kinds = {path.suffix for path in files}
    if kinds == {".parquet"}:
        return ParquetSource(files, kept=mix + 1)
    if kinds == {".tar"}:
        return TarSource(files)
    raise ValueError(
        f"{place}: expected a folder of images, .parquet or .tar files, "
        f"found {', '.join(sorted(kinds))}"
    )


def _expand(pattern: str) -> list[Path]:
    found = _RANGE.search(pattern)
    if found is None:
        return [Path(path) for path in sorted(glob.glob(pattern))]
    first, last = found.groups()
    paths = []
    for number in range(int(first), int(last) + 1):
        middle = str(number).zfill(len(first))
        paths += _expand(pattern[: found.start()] + middle + pattern[found.end() :])
    return paths
