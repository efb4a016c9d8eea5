"""BAPPS: patches under traditional and learned distortions (Zhang et al. 2018, LPIPS).

The published folder is ``2afc/{train,val}/DISTORTION/{ref,p0,p1,judge}``. The four folders hold
files of the same names; those of ``judge`` are NumPy arrays of one number, the share of judges who
call ``p1`` the closer one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from percert.check import check_choice
from percert.data.triplet import Triplet
from percert.images.walk import list_folder, walk

Split: TypeAlias = Literal["train", "val", "all"]
SPLITS: tuple[Split, ...] = ("train", "val", "all")
PARTS = ("ref", "p0", "p1", "judge")


def bapps_folders(folder: Path, split: Split = "val") -> list[tuple[str, Path]]:
    """(split, folder) of each distortion: those that hold ``ref``, ``p0``, ``p1`` and ``judge``.

    ``folder`` is the data set, its ``2afc``, one split, or one distortion. The split is empty where
    the path does not say it.
    """
    check_choice(split, SPLITS, "split")
    folder = Path(folder)
    if (folder / "2afc").is_dir():
        folder = folder / "2afc"
    found = []
    places = [folder] if (folder / "judge").is_dir() else _judged(folder)
    for place in places:
        if not all((place / part).is_dir() for part in PARTS):
            continue
        of = next((part for part in reversed(place.parts) if part in ("train", "val")), "")
        if split == "all" or not of or of == split:
            found.append((of, place))
    return found


def bapps_triplets(folder: Path, split: Split = "val") -> Iterator[Triplet]:
    """The triplets of ``split``, by distortion and file name; ``group`` is the distortion.

    Names are listed a distortion at a time, and no image is opened before it is asked for. Raises
    ``ValueError`` for a folder that is not that of BAPPS, for an image that is missing and for a
    judgement that is none.
    """
    folders = bapps_folders(folder, split)
    if not folders:
        raise ValueError(
            f"{folder}: expected BAPPS's 2afc/{{train,val}}/DISTORTION/{{ref,p0,p1,judge}}, found "
            f"none{'' if split == 'all' else f' for the split {split}'}"
        )
    for of, place in folders:
        images = {part: _by_stem(place / part) for part in ("ref", "p0", "p1")}
        for judge in sorted((place / "judge").glob("*.npy")):
            paths = {}
            for part, known in images.items():
                if judge.stem not in known:
                    raise ValueError(f"{place / part}: no image {judge.stem}, which {judge} judges")
                paths[part] = known[judge.stem]
            yield Triplet(
                name="/".join(filter(None, (of, place.name, judge.stem))),
                reference=paths["ref"],
                left=paths["p0"],
                right=paths["p1"],
                share=_judgement(judge),
                split=of,
                group=place.name,
            )


def _judged(folder: Path) -> list[Path]:
    """The folders below ``folder`` that have a folder ``judge``, links followed."""
    if not folder.is_dir():
        return []
    return sorted(one.path for one in walk(folder) if (one.path / "judge").is_dir())


def _by_stem(folder: Path) -> dict[str, Path]:
    return {Path(name).stem: folder / name for name in list_folder(folder).images}


def _judgement(path: Path) -> float:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a NumPy file that can be read ({error})") from None
    if not isinstance(values, np.ndarray) or values.size != 1 or values.dtype.kind not in "fiub":
        raise ValueError(f"{path}: expected one number, found {getattr(values, 'shape', 'none')}")
    share = float(values.reshape(-1)[0])
    if not 0 <= share <= 1:
        raise ValueError(f"{path}: expected a share in [0, 1], found {share:g}")
    return share
