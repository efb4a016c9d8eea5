"""Triplets that people judged: BAPPS (Zhang et al. 2018) and NIGHT (Fu et al. 2023).

BAPPS (of LPIPS): patches under traditional and learned distortions. The published folder is
``2afc/{train,val}/DISTORTION/{ref,p0,p1,judge}``. The four folders hold files of the same names;
those of ``judge`` are NumPy arrays of one number, the share of judges who call ``p1`` the closer
one.

NIGHT (of DreamSim): generated images. Its folder holds ``data.csv`` and, below ``ref/`` and
``distort/``, the images that its rows name. Its columns, in order: id, left_vote, right_vote,
votes, ref_path, left_path, right_path, prompt, split, is_imagenet. The just-noticeable-difference
votes are a file of their own, ``jnd_votes.csv``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from percert.check import check_choice
from percert.data.judged_pairs import NoticedPair
from percert.data.triplets import Triplet, csv_rows, csv_triplets, distortion_triplets, find_column
from percert.images.walk import list_folder, walk

#: What :func:`find_triplets` reads.
KINDS = ("auto", "night", "bapps", "csv", "distortions")
BappsSplit: TypeAlias = Literal["train", "val", "all"]
BAPPS_SPLITS: tuple[BappsSplit, ...] = ("train", "val", "all")
BAPPS_PARTS = ("ref", "p0", "p1", "judge")


def bapps_folders(folder: Path, split: BappsSplit = "val") -> list[tuple[str, Path]]:
    """(split, folder) of each distortion: those that hold ``ref``, ``p0``, ``p1`` and ``judge``.

    ``folder`` is the data set, its ``2afc``, one split, or one distortion. The split is empty where
    the path does not say it.
    """
    check_choice(split, BAPPS_SPLITS, "split")
    folder = Path(folder)
    if (folder / "2afc").is_dir():
        folder = folder / "2afc"
    found = []
    places = [folder] if (folder / "judge").is_dir() else _judged_folders(folder)
    for place in places:
        if not all((place / part).is_dir() for part in BAPPS_PARTS):
            continue
        of = next((part for part in reversed(place.parts) if part in ("train", "val")), "")
        if split == "all" or not of or of == split:
            found.append((of, place))
    return found


def bapps_triplets(folder: Path, split: BappsSplit = "val") -> Iterator[Triplet]:
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


def _judged_folders(folder: Path) -> list[Path]:
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


NightSplit: TypeAlias = Literal["train", "val", "test", "all"]
NIGHT_SPLITS: tuple[NightSplit, ...] = ("train", "val", "test", "all")
NIGHT_COLUMNS = (
    "id",
    "left_vote",
    "right_vote",
    "votes",
    "ref_path",
    "left_path",
    "right_path",
    "split",
    "is_imagenet",
)
#: Triplets with fewer votes, all of which agree, are left out by the published loaders.
LEAST_VOTES = 6

#: What the columns of votes for "looks the same" may be called, by side.
SAME = {
    side: (f"{side}_same", f"{side}_jnd", f"{side}_jnd_vote", f"{side}_vote", f"{side}_votes")
    for side in ("left", "right")
}


def night_triplets(
    folder: Path, split: NightSplit = "test", *, least_votes: int = LEAST_VOTES
) -> Iterator[Triplet]:
    """The triplets of ``split`` with at least ``least_votes`` votes, in the order of the file.

    ``group`` is ``imagenet`` or ``other``, as the class of the prompt is one of ImageNet's or not
    (LipSim, Table 4). The file is read row by row and no image is opened. Raises ``ValueError`` for
    a folder that is not NIGHT's, and for a row that cannot be understood.
    """
    check_choice(split, NIGHT_SPLITS, "split")
    path = Path(folder) / "data.csv"
    checked = False
    for number, row in enumerate(csv_rows(path), 1):
        if not checked:
            missing = [name for name in NIGHT_COLUMNS if name not in row]
            if missing:
                raise ValueError(
                    f"{path}: expected NIGHT's columns, {missing[0]!r} is missing from "
                    f"{', '.join(row)}"
                )
            checked = True
        what = f"{path}: row {number}"
        votes = round(_number(row, "votes", what))
        if votes < least_votes or (split != "all" and row["split"] != split):
            continue
        left, right = (_number(row, f"{side}_vote", what) for side in ("left", "right"))
        if left < 0 or right < 0 or left + right == 0:
            raise ValueError(f"{what}: expected votes for left or right, found {left:g}, {right:g}")
        yield Triplet(
            name=row["id"],
            reference=Path(folder) / row["ref_path"],
            left=Path(folder) / row["left_path"],
            right=Path(folder) / row["right_path"],
            share=right / (left + right),
            votes=votes,
            split=row["split"],
            group="imagenet" if _truth(row["is_imagenet"], what) else "other",
        )


def night_jnd(
    folder: Path,
    split: NightSplit = "all",
    *,
    left_column: str | None = None,
    right_column: str | None = None,
) -> Iterator[NoticedPair]:
    """Who noticed a difference: two pairs, left and right, for each row of ``jnd_votes.csv``.

    A row belongs to the triplet of ``data.csv`` with the same ``id``; its votes are shares of
    "looks the same" in columns that :data:`SAME` lists, unless ``left_column`` and ``right_column``
    name others. Raises ``ValueError`` for a file that is something else.
    """
    triplets = {triplet.name: triplet for triplet in night_triplets(folder, split, least_votes=0)}
    path = Path(folder) / "jnd_votes.csv"
    given = {"left": left_column, "right": right_column}
    columns: dict[str, str] = {}
    for number, row in enumerate(csv_rows(path), 1):
        if not columns:
            for side, wanted in given.items():
                found = find_column(list(row), SAME[side] if wanted is None else (wanted.lower(),))
                if found is None or "id" not in row:
                    raise ValueError(
                        f"{path}: expected the columns id and {wanted or f'{side}_same'}, found "
                        f"{', '.join(row)}"
                    )
                columns[side] = found
        triplet = triplets.get(row["id"])
        if triplet is None:
            continue  # of another split
        for side, column in columns.items():
            same = _number(row, column, f"{path}: row {number}")
            if not 0 <= same <= 1:
                raise ValueError(
                    f"{path}: row {number}: expected {column} in [0, 1], found {same:g}"
                )
            candidate = triplet.left if side == "left" else triplet.right
            yield NoticedPair(f"{triplet.name}#{side}", triplet.reference, candidate, same)


def _number(row: Mapping[str, str], column: str, what: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise ValueError(f"{what}: expected a number in {column}, found {row[column]!r}") from None


def _truth(text: str, what: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{what}: expected is_imagenet True or False, found {text!r}")
    return text.lower() in ("true", "1")


def find_triplets(
    source: Path,
    kind: str = "auto",
    *,
    split: str | None = None,
    images: Path | None = None,
    distortions: tuple[str, ...] = (),
    seed: int = 0,
) -> Iterator[Triplet]:
    """The triplets at ``source``, of whichever ``kind``: one of :data:`KINDS`, one by one.

    With ``auto``, a CSV file is one of triplets, a folder with ``data.csv`` NIGHT, one with folders
    ``judge`` BAPPS, and anything else photographs, to be distorted. ``split`` is that of the data
    set (by default NIGHT's ``test``, BAPPS's ``val``, all of a CSV file); ``images`` is for CSV
    files, ``distortions`` and ``seed`` are for photographs. Raises ``ValueError`` for what is not
    there or something else.
    """
    check_choice(kind, KINDS, "kind")
    if kind == "auto":
        if not source.exists():
            raise ValueError(f"{source}: no such file or folder")
        if source.suffix.lower() == ".csv":
            kind = "csv"
        elif (source / "data.csv").is_file():
            kind = "night"
        else:
            found = source.is_dir() and bapps_folders(source, "all")
            kind = "bapps" if found else "distortions"
    if kind == "night":
        return night_triplets(source, "test" if split is None else split)  # type: ignore[arg-type]  # it checks
    if kind == "bapps":
        return bapps_triplets(source, "val" if split is None else split)  # type: ignore[arg-type]  # it checks
    if kind == "csv":
        return csv_triplets(source, images=images, split=None if split == "all" else split or None)
    return distortion_triplets(source, distortions=distortions, seed=seed)
