"""A triplet of images and what people, or whoever made it, say about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

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
