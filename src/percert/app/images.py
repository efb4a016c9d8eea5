"""Images of clients: uploaded files, read with limits and never executed; pictures to be shown."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import torch
from fastapi import UploadFile
from torch import Tensor

from percert.images import Resize, save_image
from percert.images.load import decode_image
from percert.metrics.full_reference.seen import noticed_map, seen
from percert.metrics.full_reference.visibility import SMALLEST_SIDE
from percert.metrics.seen_study import observers_sentence

#: Longer names are cut.
LONGEST = 60


@dataclass(frozen=True)
class Upload:
    """An uploaded file: the name to show, and its bytes, or where these are.

    Sent to a worker process, it takes its bytes along, unless they lie at a path.
    """

    name: str
    held: bytes | Path | BinaryIO

    def read(self) -> bytes:
        """The bytes. Blocks while the disk is read: not to be called in the event loop."""
        if isinstance(self.held, bytes):
            return self.held
        if isinstance(self.held, Path):
            return self.held.read_bytes()
        self.held.seek(0)
        return self.held.read()

    def image(self, pixels: int) -> Tensor:
        """The image in it, ``(3, h, w)`` in [0, 1]. ``ValueError`` says what is wrong with it."""
        return decode_image(self.read(), self.name, max_pixels=pixels)

    def keep(self, path: Path) -> "Upload":
        """The same, read from a copy at ``path`` from now on."""
        path.write_bytes(self.read())
        return Upload(self.name, path)

    def __reduce__(self) -> tuple[type["Upload"], tuple[str, bytes | Path]]:
        return Upload, (self.name, self.held if isinstance(self.held, Path) else self.read())


def upload_of(file: UploadFile, fallback: str) -> Upload:
    """The upload behind a form's file; its name is for showing, and no part of any path."""
    return Upload(shown_name(file.filename, fallback), file.file)


def shown_name(name: str | None, fallback: str) -> str:
    r"""The last part of a client's file name, without anything unprintable, or ``fallback``.

    >>> shown_name("../../etc/passwd", "reference"), shown_name("C:\\pictures\\a.png", "reference")
    ('passwd', 'a.png')
    >>> shown_name("..", "reference"), shown_name("\x1b[31mred.png", "reference")
    ('reference', '[31mred.png')
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    kept = "".join(c for c in last if c.isprintable()).strip()
    if not kept.strip(". "):
        return fallback
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"


#: Pictures are shown with at most so many pixels on the longer side.
SHOWN = 640


def fit(image: Tensor, side: int) -> Tensor:
    """``(3, h, w)`` reduced to at most ``side`` pixels on its longer side, within [0, 1].

    >>> fit(torch.rand(3, 40, 20), 10).shape, fit(torch.rand(3, 4, 8), 10).shape
    (torch.Size([3, 10, 5]), torch.Size([3, 4, 8]))
    """
    height, width = image.shape[1:]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return Resize(size, "box")(image[None])[0].clamp(0, 1)


def write_picture(image: Tensor, path: Path, *, whole: bool = False) -> None:
    """Write ``(3, h, w)`` as a PNG, reduced for showing unless ``whole``."""
    save_image(image if whole else fit(image, SHOWN), path)


def magnified(before: Tensor, after: Tensor) -> tuple[Tensor, int]:
    """The change of ``(3, h, w)`` images on grey, and how many times it was magnified.

    The largest change reaches black or white.

    >>> picture, times = magnified(torch.zeros(3, 1, 1), torch.full((3, 1, 1), 0.05))
    >>> round(picture[0].item(), 3), times
    (1.0, 10)
    """
    change = after - before
    largest = float(change.abs().max())
    times = max(1, int(0.5 / largest + 1e-4)) if largest > 0 else 1
    return (0.5 + times * change).clamp(0, 1), times


def magnified_words(times: int) -> str:
    """What to say below a magnified change.

    >>> magnified_words(7)
    'The change, 7 times magnified; grey is none'
    """
    return f"The change{f', {times} times magnified' if times > 1 else ''}; grey is none"


def noticed(before: Tensor, after: Tensor) -> Tensor | None:
    """Where people would notice a change of ``(3, h, w)`` images, white on black, ``(3, h, w)``.

    ``None`` for pictures that are too small to say.

    >>> noticed(torch.zeros(3, 1, 1), torch.ones(3, 1, 1)) is None
    True
    """
    if min(before.shape[1:]) < SMALLEST_SIDE:
        return None
    return noticed_map(before[None], after[None])[0].expand(3, -1, -1)


@torch.no_grad()
def observers_of(before: Tensor, after: Tensor) -> str:
    """How many people would notice a change of ``(3, h, w)`` images; empty where nobody can say.

    >>> observers_of(torch.full((3, 16, 16), 0.5), torch.full((3, 16, 16), 0.5))
    'About 8 of 100 people would notice, 8 would say so of an unchanged picture.'
    """
    if min(before.shape[1:]) < SMALLEST_SIDE:
        return ""
    return observers_sentence(seen(before[None], after[None]).item())
