"""An l2 length in pixels, said in the other words that people use for the same thing."""

import math


def peak_db(length: float, size: tuple[int, int]) -> float:
    """The PSNR in decibels of a change of l2 ``length`` in a ``size`` (height, width) image.

    ``20 log10(sqrt(3 h w) / length)``, infinite for length 0.

    >>> round(peak_db(16.2, (299, 299)), 1)
    30.1
    """
    return math.inf if length == 0 else 20 * math.log10(math.sqrt(3 * size[0] * size[1]) / length)


def levels(length: float, size: tuple[int, int]) -> float:
    """How many 8-bit levels every value may change at once within l2 ``length``.

    ``255 length / sqrt(3 h w)``: the linf change that the l2 ball is sure to hold.

    >>> round(levels(16.25, (299, 299)), 1)
    8.0
    """
    return 255 * length / math.sqrt(3 * size[0] * size[1])


def one_level(size: tuple[int, int]) -> float:
    """The l2 length of a change of every value by one 8-bit level, ``sqrt(3 h w) / 255``.

    >>> round(one_level((299, 299)), 2)
    2.03
    """
    return math.sqrt(3 * size[0] * size[1]) / 255


def describe(length: float, size: tuple[int, int]) -> str:
    """A budget three ways, each rounded to the safe side: all that is named lies within it.

    >>> describe(16.25, (299, 299)), describe(16, (299, 299))
    ('l2 16.25 (PSNR 30.1 dB, or 8/255 on every value)',
     'l2 16 (PSNR 30.3 dB, or 7.8/255 on every value)')
    """
    return (
        f"l2 {_plain(rounded_down(length, 4))} (PSNR {rounded_up_db(length, size)} dB, "
        f"or {_plain(rounded_down(levels(length, size), 2))}/255 on every value)"
    )


def describe_radius(radius: float, size: tuple[int, int]) -> str:
    """A proven radius three ways, each rounded to the safe side.

    >>> describe_radius(16.2599, (299, 299))
    'l2 16.2 (PSNR 30.1 dB, or 8.0/255 on every value)'
    """
    return (
        f"l2 {rounded_down(radius, 3)} (PSNR {rounded_up_db(radius, size)} dB, "
        f"or {rounded_down(levels(radius, size), 2)}/255 on every value)"
    )


def rounded_down(value: float, digits: int) -> str:
    """``value`` (at least 0) to so many significant digits, never more than it is.

    >>> rounded_down(30.5735, 3), rounded_down(0.000199, 2), rounded_down(1234.5, 3)
    ('30.5', '0.00019', '1230')
    """
    if value <= 0 or math.isinf(value):
        return f"{max(value, 0):g}"
    unit = digits - 1 - math.floor(math.log10(value))
    # The product is rounded before the floor: 0.29 * 100 is 28.999999999999996.
    whole = math.floor(round(value * 10.0**unit, 9))
    return f"{whole * 10.0**-unit:.{max(unit, 0)}f}"


def rounded_up_db(radius: float, size: tuple[int, int]) -> str:
    """The PSNR from which on every change lies within ``radius``, to a tenth, never too low.

    >>> peak_db(16.0, (299, 299)), rounded_up_db(16.0, (299, 299))
    (30.202..., '30.3')
    """
    return decibels_up(peak_db(radius, size))


def decibels_up(decibels: float) -> str:
    """Decibels to a tenth, never fewer than they are: what is covered from there on.

    >>> decibels_up(30.202), decibels_up(30.2), decibels_up(math.inf)  # of no change at all
    ('30.3', '30.2', 'inf')
    """
    if math.isinf(decibels):
        return "inf"
    return f"{math.ceil(round(10 * decibels, 6)) / 10:.1f}"


def _plain(number: str) -> str:
    """Without the zeros that a fraction ends in."""
    return number.rstrip("0").rstrip(".") if "." in number else number
