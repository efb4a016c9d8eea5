"""Triplets of images, a reference and two candidates, with what people or their maker say of them.

From a CSV file of one's own, which is read row by row, or distorted as known.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from percert.check import one_line
from percert.data.distortions import DISTORTIONS, distortion_triplet
from percert.images import find_images, load_image


@dataclass(frozen=True)
class Triplet:
    """A reference and two candidates, not read yet.

    ``share`` is the share of judges in [0, 1] who call ``right`` the closer one, ``None`` where
    nobody says. ``votes`` counts the judges where that is known. ``split`` and ``group`` (a kind of
    distortion, ``imagenet`` or ``other``) are empty where there is none. ``name`` tells it apart.

    Where ``distortion`` is set, the three images are made when they are read: ``reference`` is the
    photograph, and one candidate is distorted less than the other, from ``seed`` and ``index``.
    """

    name: str
    reference: Path
    left: Path
    right: Path
    share: float | None = None
    votes: int | None = None
    split: str = ""
    group: str = ""
    distortion: str = ""
    seed: int = 0
    index: int = 0

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(
                f"triplet {self.name}: expected a share in [0, 1], found {self.share:g}"
            )

    @property
    def choice(self) -> int | None:
        """0 where the majority says left, 1 for right, ``None`` for a draw or where nobody says.

        >>> here = Path("a.png")
        >>> [Triplet("t", here, here, here, share).choice for share in (0.2, 1.0, 0.5, None)]
        [0, 1, None, None]
        """
        return None if self.share is None or self.share == 0.5 else int(self.share > 0.5)


def load_triplet(triplet: Triplet) -> tuple[Tensor, Tensor, Tensor]:
    """Reference, left and right as ``(3, h, w)`` float32 in [0, 1], each of its own size.

    Raises :class:`~percert.images.ImageError` (a ``ValueError``) for a file that is bad.
    """
    if not triplet.distortion:
        return load_image(triplet.reference), load_image(triplet.left), load_image(triplet.right)
    photograph = load_image(triplet.reference)
    found = {distortion.name: distortion for distortion in DISTORTIONS}[triplet.distortion]
    pixels = (255 * photograph).round().to(torch.uint8).permute(1, 2, 0).numpy()
    made = distortion_triplet(Image.fromarray(pixels), found, triplet.seed, triplet.index)
    milder, stronger = _tensor(made.milder), _tensor(made.stronger)
    sides = (milder, stronger) if triplet.share == 0 else (stronger, milder)
    return (photograph, *sides)


def distortion_triplets(
    images: Path, *, distortions: tuple[str, ...] = (), seed: int = 0
) -> Iterator[Triplet]:
    """The photographs below ``images`` under each of ``distortions`` (all where none is named).

    Of the two candidates the one distorted less is the closer one; on which side it stands is
    chance, from ``seed``. Images are read, and distorted, by :func:`load_triplet`. Raises
    ``ValueError`` for a distortion that is not known, and where there are no images.
    """
    known = [distortion.name for distortion in DISTORTIONS]
    for name in distortions:
        if name not in known:
            raise ValueError(f"distortion: expected one of {', '.join(known)}, found {name!r}")
    paths = find_images(images)
    if not paths or not images.exists():
        raise ValueError(f"{images}: no images found")
    folder = images if images.is_dir() else images.parent
    for index, path in enumerate(paths):
        for name in distortions or known:
            coin = np.random.default_rng([seed, known.index(name), index, 2])
            yield Triplet(
                name=f"{path.relative_to(folder).as_posix()}#{name}",
                reference=path,
                left=path,
                right=path,
                share=float(coin.integers(0, 2)),
                group=name,
                distortion=name,
                seed=seed,
                index=index,
            )


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


#: What the columns may be called, in lower case.
COLUMNS: dict[str, tuple[str, ...]] = {
    "reference": ("reference", "ref", "ref_path"),
    "left": ("left", "left_path", "p0"),
    "right": ("right", "right_path", "p1"),
    "choice": ("choice", "right_vote", "judge", "share"),
    "votes_left": ("votes_left", "left_votes"),
    "votes_right": ("votes_right", "right_votes"),
    "name": ("name", "id"),
    "split": ("split",),
    "group": ("group", "kind", "category"),
}
NEEDED = ("reference", "left", "right")


def csv_triplets(
    path: Path, *, images: Path | None = None, split: str | None = None
) -> Iterator[Triplet]:
    """The triplets in the CSV file ``path``, in its order, one by one.

    It has the columns ``reference,left,right``, and may have ``choice``, or ``votes_left`` and
    ``votes_right``, and ``name``, ``split`` and ``group`` (other names: :data:`COLUMNS`). Paths
    count from the folder ``images``, or from that
    of the file, or from ``images/`` beside it. A choice is ``left``, ``right``, or
    the share of judges in [0, 1] who call the right one closer; empty where nobody says. Votes
    count the judges who do. ``split`` keeps the rows of that split.
    Raises ``ValueError``, with the row, for a file that is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "t.csv")
    ...     _ = table.write_text("reference,left,right,choice\\na.png,b.png,c.png,right\\n")
    ...     [triplet.choice for triplet in csv_triplets(table)]
    [1]
    """
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    seen: dict[str, int] = {}
    names: dict[str, str | None] | None = None
    for number, row in enumerate(csv_rows(path), 1):
        if names is None:
            names = {what: find_column(list(row), usual) for what, usual in COLUMNS.items()}
            for needed in NEEDED:
                if names[needed] is None:
                    raise ValueError(
                        f"{path}: expected a column {needed}, found {', '.join(row) or 'none'}"
                    )
            folder = image_folder(path, images, row[names["reference"] or ""])
        known = {what: "" if name is None else row[name] for what, name in names.items()}
        if not all(known[needed] for needed in NEEDED):
            raise ValueError(f"{path}: row {number} does not name three images")
        if split is not None and names["split"] is not None and known["split"] != split:
            continue
        name = known["name"] or known["reference"]
        seen[name] = seen.get(name, 0) + 1
        votes = _votes(known["votes_left"], known["votes_right"], f"{path}: row {number}")
        share = _share(known["choice"], f"{path}: row {number}")
        if share is None and votes is not None and any(votes):
            share = votes[1] / sum(votes)
        yield Triplet(
            name=name if seen[name] == 1 else f"{name}#{seen[name]}",
            reference=folder / known["reference"],
            left=folder / known["left"],
            right=folder / known["right"],
            share=share,
            votes=None if votes is None else sum(votes),
            split=known["split"],
            group=known["group"],
        )


def image_folder(table: Path, images: Path | None, name: str) -> Path:
    """From where the paths of a ``table`` count: ``images``, or its folder, or ``images/`` there.

    Whichever of the latter two has the image ``name``, the first that the table names.
    """
    if images is not None:
        if not images.is_dir():
            raise ValueError(f"{images}: no such folder")
        return images
    folder = table.parent
    beside = folder / "images"
    return beside if not (folder / name).exists() and (beside / name).exists() else folder


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header, stripped of white space, one by one.

    Raises ``ValueError`` for a file that is missing, no text, or empty.
    """
    count = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            for row in reader:
                count += 1
                yield {key: value.strip() for key, value in row.items() if key is not None}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file that can be read ({one_line(error)})") from None
    if not count:
        raise ValueError(f"{path}: expected a CSV file with a header and rows, found no rows")


def find_column(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the ``usual`` names, in any case, that is among ``names``.

    >>> find_column(["Ref", "left"], ("reference", "ref"))
    'Ref'
    """
    for wanted in usual:
        for name in names:
            if name.lower() == wanted:
                return name
    return None


def _votes(left: str, right: str, what: str) -> tuple[int, int] | None:
    """The judges for left and for right, ``None`` where neither is said."""
    if not left and not right:
        return None
    if not (left.isdecimal() and right.isdecimal()):
        raise ValueError(f"{what}: expected counts of votes, found {left!r} and {right!r}")
    return int(left), int(right)


def _share(text: str, what: str) -> float | None:
    if not text:
        return None
    if text.lower() in ("left", "right"):
        return float(text.lower() == "right")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{what}: expected a choice of left, right or 0 to 1, found {text!r}")
    return value
