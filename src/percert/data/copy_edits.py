"""What people do to a photograph before they post it again: a catalog of copy-detection edits.

The usual edits leave a copy that nobody would dispute; the hard ones are those of the field's
challenges (DISC21: Douze et al., "The 2021 Image Similarity Dataset and Challenge"). Those of
AugLy's package are beside them, by names that begin with ``augly-``.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import ImageEnhance

from percert.data import pixel_edits
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.edit import RGB, Operation
from percert.data.edit import Edit as Edit
from percert.data.edit import apply_edit as apply_edit
from percert.data.edit import edit_generator as edit_generator


def find_edit(name: str) -> Edit:
    """The edit called ``name``, AugLy's among them; ``ValueError`` lists the names there are."""
    known = {edit.name: edit for edit in (*EDITS, *AUGLY_EDITS)}
    if name not in known:
        raise ValueError(f"edit: expected one of {', '.join(known)}, found {name!r}")
    return known[name]


def _plain(function: Callable[[RGB], RGB]) -> Operation:
    """An edit without chance."""
    return lambda image, generator, other=None: function(image)


def _random(function: Callable[[RGB, np.random.Generator], RGB]) -> Operation:
    return lambda image, generator, other=None: function(image, generator)


def _usual() -> list[Edit]:
    edits = [
        Edit(f"jpeg-{quality}", "jpeg", False, _plain(partial(pixel_edits.jpeg, quality=quality)))
        for quality in (90, 70, 50, 30)
    ]
    edits += [
        Edit(
            f"rescale-{factor:g}",
            "rescale",
            False,
            _plain(partial(pixel_edits.rescale, factor=factor)),
        )
        for factor in (0.5, 0.75, 1.5, 2.0)
    ]
    edits += _crops((90, 80), hard=False)
    for name, kind, factors in (
        ("brightness", ImageEnhance.Brightness, (0.7, 1.3)),
        ("contrast", ImageEnhance.Contrast, (0.7, 1.3)),
        ("saturation", ImageEnhance.Color, (0.5, 1.5)),
    ):
        edits += [
            Edit(
                f"{name}-{factor:g}",
                name,
                False,
                _plain(partial(pixel_edits.enhance, kind=kind, factor=factor)),
            )
            for factor in factors
        ]
    edits += [
        Edit(f"blur-{radius}", "blur", False, _plain(partial(pixel_edits.blur, radius=radius)))
        for radius in (1, 2)
    ]
    edits += [
        Edit(f"noise-{sigma}", "noise", False, _random(partial(pixel_edits.noise, sigma=sigma)))
        for sigma in (8, 16)
    ]
    return [*edits, Edit("caption", "caption", False, _random(pixel_edits.caption))]


def _crops(percentages: tuple[int, ...], hard: bool) -> list[Edit]:
    return [
        Edit(
            f"crop-{keep}-{place}",
            f"crop-{keep}",
            hard,
            _random(partial(pixel_edits.crop, keep=keep / 100, centred=place == "centre")),
        )
        for keep in percentages
        for place in ("centre", "random")
    ]


def _hard() -> list[Edit]:
    return [
        *_crops((60,), hard=True),
        *(
            Edit(
                f"rotate-{degrees}",
                "rotate",
                True,
                _plain(partial(pixel_edits.rotate, degrees=degrees)),
            )
            for degrees in (-10, 5, 10)
        ),
        Edit(
            "rotate-10-cropped",
            "rotate",
            True,
            _plain(partial(pixel_edits.rotate_cropped, degrees=10)),
        ),
        Edit("mirror", "mirror", True, _plain(pixel_edits.mirror)),
        Edit("jpeg-10", "jpeg", True, _plain(partial(pixel_edits.jpeg, quality=10))),
        Edit("grey", "grey", True, _plain(pixel_edits.grey)),
        Edit("hue-0.1", "colour-shift", True, _plain(partial(pixel_edits.hue, turn=0.1))),
        Edit("hue-0.25", "colour-shift", True, _plain(partial(pixel_edits.hue, turn=0.25))),
        Edit("channel-gain", "colour-shift", True, _random(pixel_edits.channel_gain)),
        Edit(
            "border-black-10",
            "border",
            True,
            _plain(partial(pixel_edits.border, share=0.1, colour="black")),
        ),
        Edit(
            "border-white-12",
            "border",
            True,
            _plain(partial(pixel_edits.border, share=0.12, colour="white")),
        ),
        Edit(
            "border-blurred-15",
            "border",
            True,
            _plain(partial(pixel_edits.border, share=0.15, colour=None)),
        ),
        Edit("collage-70", "collage", True, pixel_edits.collage, needs_other=True),
        Edit("heavy-text", "text", True, _random(pixel_edits.heavy_text)),
    ]


#: Every edit that needs no package: the usual ones first, then the hard ones.
EDITS: tuple[Edit, ...] = (*_usual(), *_hard())
USUAL_EDITS = tuple(edit for edit in EDITS if not edit.hard)
HARD_EDITS = tuple(edit for edit in EDITS if edit.hard)
#: Sets of edits by name.
EDIT_SETS: Mapping[str, tuple[Edit, ...]] = {
    "usual": USUAL_EDITS,
    "hard": HARD_EDITS,
    "all": EDITS,
    "augly": AUGLY_EDITS,
}
