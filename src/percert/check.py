"""Checks of what a caller hands in, and messages that name arguments.

A ``ValueError`` names what was found and what is right. A function's ``drop_missing`` is
``--drop-missing`` on the command line: a message keeps which of its words are arguments
(:class:`Wording`), and the command line and the page say them their own way.
"""

import difflib
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from torch import Tensor


@final
class Argument(str):
    """The name of an argument, as a word of a message."""


@final
class Wording(str):
    """A message made of ``parts``, of which some are :class:`Argument`.

    >>> text = Wording("leave them out with ", Argument("drop_missing"))
    >>> text
    'leave them out with drop_missing'
    >>> text.said(lambda name: "--" + name.replace("_", "-"))
    'leave them out with --drop-missing'
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> "Wording":
        self = super().__new__(cls, "".join(parts))
        self.parts = parts
        return self

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override]  # as many as were given
        return self.parts

    def said(self, name: Callable[[str], str]) -> str:
        """The message, its arguments as ``name`` calls them."""
        return "".join(name(part) if isinstance(part, Argument) else part for part in self.parts)


class ArgumentError(ValueError):
    """A ``ValueError`` whose message names arguments; ``parts`` as those of :class:`Wording`.

    >>> str(ArgumentError("give a file with ", Argument("weights")))
    'give a file with weights'
    """

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.wording = Wording(*parts)

    def __str__(self) -> str:
        return str(self.wording)


#: How far outside [0, 1] a pixel may lie before it is an error rather than float rounding.
PIXEL_TOLERANCE = 1e-5


def check_images(images: "Tensor", name: str = "images") -> "Tensor":
    """Return ``images`` if they are a batch of sRGB images: ``(n, 3, h, w)``, float, in [0, 1].

    >>> import torch
    >>> check_images(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    >>> check_images(255 * torch.ones(1, 3, 8, 8), "candidate")
    Traceback (most recent call last):
    ValueError: candidate: values lie in [255, 255], but pixels must lie in [0, 1] ...
    """
    import torch  # here: what only checks names must not wait for it

    if not isinstance(images, torch.Tensor):
        raise ValueError(f"{name}: expected a torch tensor, found {type(images).__name__}")
    if not images.is_floating_point():
        raise ValueError(
            f"{name}: expected a float tensor in [0, 1], found {images.dtype} "
            "(divide 8-bit values by 255)"
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"{name}: expected shape (n, 3, h, w), found {tuple(images.shape)}")
    if images.shape[2] == 0 or images.shape[3] == 0:
        raise ValueError(f"{name}: the images are empty, shape {tuple(images.shape)}")
    if images.numel() == 0:
        return images
    low, high = (value.item() for value in torch.aminmax(images.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name}: holds NaN or infinite pixels")
    if low < -PIXEL_TOLERANCE or high > 1 + PIXEL_TOLERANCE:
        raise ValueError(
            f"{name}: values lie in [{low:.6g}, {high:.6g}], but pixels must lie in [0, 1]"
            + (" (divide 8-bit values by 255)" if high > 2 else "")
        )
    return images


def check_same_count(reference: "Tensor", candidate: "Tensor", name: str = "candidate") -> None:
    """Raise ``ValueError`` unless both batches hold the same number of images."""
    if len(reference) != len(candidate):
        raise ValueError(
            f"{name}: expected {len(reference)} images, one per reference, found {len(candidate)}"
        )


def check_same_shape(reference: "Tensor", candidate: "Tensor", name: str = "candidate") -> None:
    """Raise ``ValueError`` unless both batches have the same shape."""
    if reference.shape != candidate.shape:
        raise ValueError(
            f"{name}: expected the reference's shape {tuple(reference.shape)}, "
            f"found {tuple(candidate.shape)}"
        )


def check_choice(value: str, choices: tuple[str, ...], name: str) -> str:
    """Return ``value`` if it is one of ``choices``.

    >>> check_choice("both", ("candidate", "reference"), "perturbed")
    Traceback (most recent call last):
    ValueError: perturbed: expected one of 'candidate', 'reference', found 'both'
    """
    if value not in choices:
        raise ValueError(
            f"{name}: expected one of {', '.join(map(repr, choices))}, found {value!r}"
        )
    return value


def check_budget(eps: float, name: str = "eps") -> float:
    """Return ``eps`` as a float if it is a finite length of at least 0."""
    value = float(eps)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}: expected a finite number of at least 0, found {eps}")
    return value


def did_you_mean(name: str, known: Collection[str], otherwise: str = "", *, most: int = 1) -> str:
    """The end of a message on a ``name`` that is not ``known``: the nearest, or ``otherwise``.

    >>> did_you_mean("ssmi", ["ssim", "psnr"]), did_you_mean("?", ["ssim"], otherwise=".")
    (", did you mean 'ssim'?", '.')
    """
    near = difflib.get_close_matches(name, known, n=most)
    return f", did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def one_line(error: BaseException, most: int = 200) -> str:
    r"""What ``error`` says, as one printable line of at most ``most`` characters, for a message.

    >>> one_line(ValueError("not\n  this\x1b[2J"))
    'not this\\x1b[2J'
    >>> one_line(TimeoutError()), one_line(FileNotFoundError(2, "No such file", "a.png"))
    ('TimeoutError', 'No such file')
    """
    # What the system says comes with a number and the path, which the message has already.
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(said.split()))[:most] or type(error).__name__


def printable(text: object) -> str:
    r"""``text`` with everything that a terminal would act upon escaped: file names may hold it.

    >>> printable("holiday\n[red].png")
    'holiday\\n[red].png'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )
