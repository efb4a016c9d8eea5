"""How much of a change people would see, in words: of a budget, and of a change that was made."""

import math

from percert.reports.lengths import levels

#: What a change of every value by up to so many of its 256 levels looks like. One level is the
#: least step that a screen makes; further ones by sight, of noise on photographs.
SEEN = (
    (1.05, "invisible"),
    (3.0, "hard to see"),
    (10.0, "seen as faint noise"),
    (30.0, "plainly visible noise"),
    (math.inf, "heavy noise"),
)


def visibility(length: float, size: tuple[int, int]) -> str:
    """How visible a change of l2 ``length`` is, spread evenly over a (height, width) image.

    >>> [visibility(length, (299, 299)) for length in (2, 16)]
    ['invisible', 'seen as faint noise']
    """
    found = levels(length, size)
    return next(words for most, words in SEEN if found <= most)


def whole_pixels(length: float, size: tuple[int, int]) -> int:
    """How many pixels an l2 ``length`` can turn from black to white, each by ``sqrt(3)``.

    >>> whole_pixels(16.25, (299, 299))
    88
    """
    return min(int(length**2 / 3), size[0] * size[1])


def tampering(length: float, size: tuple[int, int]) -> str:
    """A budget for people: spread evenly, and gathered in one place.

    >>> tampering(2.2, (299, 299))
    '1.1 of 255 levels on every value (hard to see), or 1 pixel turned from black to white'
    >>> tampering(0, (299, 299))
    'no change'
    """
    if length == 0:
        return "no change"
    level = levels(length, size)
    shown = f"{level:.2g}" if level < 0.95 else f"{level:.1f}" if level < 99.95 else f"{level:.0f}"
    spread = f"{shown} of 255 levels on every value ({visibility(length, size)})"
    gathered = whole_pixels(length, size)
    if not gathered:
        return spread
    pixels = "1 pixel" if gathered == 1 else f"{gathered:,} pixels"
    return f"{spread}, or {pixels} turned from black to white"


def seen_words(share: float) -> str:
    """What a share of pixels that visibly differ amounts to.

    >>> seen_words(0.0)
    'Invisible: no pixel differs by as much as is just seen.'
    >>> seen_words(0.31)
    'Visible: 31 % of the pixels differ by more than is just seen.'
    """
    if share == 0:
        return "Invisible: no pixel differs by as much as is just seen."
    if share == 1:
        return "Visible: every pixel differs by more than is just seen."
    shown = f"{100 * share:.1f}" if share < 0.1 else f"{min(100 * share, 99):.0f}"
    percent = "less than 0.1 %" if share < 0.001 else f"{shown} %"
    how = "Hard to see" if share < 0.01 else "Visible in places" if share < 0.1 else "Visible"
    return f"{how}: {percent} of the pixels differ by more than is just seen."
