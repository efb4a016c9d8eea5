"""AugLy's image edits (Papakipos and Bitton, 2022) as edits of copies, each with a stated strength.

The package is the extra ``augly``, version 1.0; what its functions do is theirs. Left out are two
that current pillow and numpy no longer run (``meme_format``, ``perspective_transform``) and those
that do nothing to most pictures, or only what the caller says (``pad_square``, ``clip_image_size``,
``apply_lambda``). Places, angles and words are drawn from the edit's generator.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from percert.data.edit import RGB, Edit, Operation
from percert.extras import install_extra

PREFIX = "augly-"
#: The characters that text is made of: places in AugLy's font, whose first are signs.
GLYPHS = (36, 600)


@contextmanager
def untouched_generators(seed: int) -> Iterator[None]:
    """Seed the global generators that AugLy draws from, and put back what the caller had.

    >>> before = np.random.get_state()[1].copy()
    >>> with untouched_generators(3):
    ...     first = np.random.rand()
    >>> with untouched_generators(3):
    ...     first == np.random.rand(), bool((before == np.random.get_state()[1]).all())
    (True, False)
    >>> bool((before == np.random.get_state()[1]).all())
    True
    """
    theirs, plain = np.random.get_state(), random.getstate()  # noqa: NPY002  # AugLy's are these
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(theirs)  # noqa: NPY002
        random.setstate(plain)


def _augly() -> Any:
    if find_spec("augly") is None:
        raise ValueError(f"AugLy's edits need augly: {install_extra('augly')}")
    return import_module("augly.image")


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))


def _call(function: str, /, **settings: Any) -> Operation:
    """AugLy's ``function`` with ``settings``; what is callable is drawn for each picture."""

    def edit(image: RGB, generator: np.random.Generator, other: RGB | None = None) -> RGB:
        drawn = {
            name: value(generator) if callable(value) else value for name, value in settings.items()
        }
        with untouched_generators(_seed(generator)):
            made: RGB = getattr(_augly(), function)(image, **drawn)
        return made.convert("RGB")

    return edit


def _onto(function: str, argument: str, /, **settings: Any) -> Operation:
    """The same of a function that takes another picture, as ``argument``."""

    def edit(image: RGB, generator: np.random.Generator, other: RGB | None = None) -> RGB:
        return _call(function, **{argument: other}, **settings)(image, generator)

    return edit


def _resized(image: RGB, generator: np.random.Generator, other: RGB | None = None) -> RGB:
    """To 0.5 of the width and 0.8 of the height."""
    width, height = max(1, image.width // 2), max(1, round(0.8 * image.height))
    return _call("resize", width=width, height=height)(image, generator)


def _half_blurred(image: RGB, generator: np.random.Generator, other: RGB | None = None) -> RGB:
    """Blurred in the left half alone."""
    mask = Image.new("L", image.size)
    mask.paste(255, (0, 0, image.width // 2, image.height))

    def blur(part: RGB) -> RGB:
        made: RGB = _augly().blur(part, radius=8)
        return made

    return _call("masked_composite", mask=lambda _: mask, transform_function=lambda _: blur)(
        image, generator
    )


def _between(low: float, high: float) -> Any:
    return lambda generator: float(generator.uniform(low, high))


def _words(generator: np.random.Generator) -> list[int]:
    return [int(one) for one in generator.integers(*GLYPHS, size=6)]


def _edit(name: str, apply: Operation, *, other: bool = False) -> Edit:
    return Edit(f"{PREFIX}{name}", f"{PREFIX}{name}", True, apply, needs_other=other)


def _catalog() -> tuple[Edit, ...]:
    anywhere = {"x_pos": _between(0.0, 0.6), "y_pos": _between(0.0, 0.6)}
    text = {"text": _words, "font_size": 0.15, "color": (255, 0, 0)}
    plain: dict[str, tuple[str, dict[str, Any]]] = {
        "filter": ("apply_pil_filter", {}),
        "blur": ("blur", {"radius": 4}),
        "brightness": ("brightness", {"factor": 1.6}),
        "aspect-ratio": ("change_aspect_ratio", {"ratio": 2.0}),
        "colour-jitter": (
            "color_jitter",
            {"brightness_factor": 1.3, "contrast_factor": 1.4, "saturation_factor": 0.4},
        ),
        "contrast": ("contrast", {"factor": 1.8}),
        "palette": ("convert_color", {"mode": "P", "palette": Image.Palette.ADAPTIVE, "colors": 8}),
        "crop": ("crop", {}),
        "encoding-quality": ("encoding_quality", {"quality": 15}),
        "grayscale": ("grayscale", {}),
        "hflip": ("hflip", {}),
        "opacity": ("opacity", {"level": 0.5}),
        "overlay-emoji": ("overlay_emoji", {"emoji_size": 0.35, **anywhere}),
        "overlay-screenshot": ("overlay_onto_screenshot", {}),
        "overlay-stripes": ("overlay_stripes", {"line_angle": _between(-90, 90)}),
        "overlay-text": ("overlay_text", {**text, "x_pos": 0.05, "y_pos": _between(0.0, 0.8)}),
        "pad": ("pad", {}),
        "pixelization": ("pixelization", {"ratio": 0.25}),
        "random-noise": ("random_noise", {"var": 0.02, "seed": _seed}),
        "rotate": ("rotate", {"degrees": 15}),
        "saturation": ("saturation", {"factor": 3.0}),
        "scale": ("scale", {"factor": 0.3}),
        "sharpen": ("sharpen", {"factor": 10}),
        "shuffle-pixels": ("shuffle_pixels", {"factor": 0.1, "seed": _seed}),
        "skew": ("skew", {"skew_factor": 0.4}),
        "vflip": ("vflip", {}),
    }
    pasted = {"overlay_size": 0.5, **anywhere}
    return (
        *(_edit(name, _call(function, **how)) for name, (function, how) in plain.items()),
        _edit("masked-blur", _half_blurred),
        _edit("resize", _resized),
        _edit("overlay-image", _onto("overlay_image", "overlay", **pasted), other=True),
        _edit(
            "onto-background",
            _onto("overlay_onto_background_image", "background_image", **pasted),
            other=True,
        ),
    )


#: Every edit of AugLy's that runs here. Nothing of the package is imported before one is applied.
AUGLY_EDITS: tuple[Edit, ...] = _catalog()
