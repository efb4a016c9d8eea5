"""Pictures with little in them, drawn by code: strangers that a network of photographs mixes up.

Pages of text, night skies, line drawings, placeholders and flat colours, all unlike each other to a
reader and much alike at 64 pixels. The same seed and version of pillow give the same pixels.
"""

import math
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from percert.data import plain_pages
from percert.data.plain_pages import LONG, RGB, SHORT, ink, paper, words


def plain_pictures(kind: str, count: int, seed: int = 0) -> list[RGB]:
    """``count`` RGB pictures of ``kind``, a key of :data:`KINDS`; deterministic in ``seed``.

    >>> one, other = plain_pictures("text pages", 2)
    >>> one.size, one.tobytes() == other.tobytes()
    ((300, 420), False)
    """
    key = zlib.crc32(kind.encode())
    return [KINDS[kind](np.random.default_rng([seed, key, index])) for index in range(count)]


def night_sky(chance: np.random.Generator) -> RGB:
    """A dark sky: stars, and perhaps a glow above the horizon, a moon or the Milky Way."""
    width, height = (LONG, SHORT) if chance.random() < 0.7 else (SHORT, LONG)
    rows, columns = np.mgrid[0:height, 0:width].astype(float)
    sky = np.zeros((height, width, 3)) + chance.uniform(0, 0.03, 3)
    if chance.random() < 0.5:
        glow = chance.uniform(0.02, 0.25) * (rows / height) ** chance.uniform(2, 6)
        sky += glow[..., None] * chance.uniform(0.3, 1, 3)
    if chance.random() < 0.3:
        angle = chance.uniform(0, math.pi)
        across = (columns - width / 2) * math.sin(angle) + (rows - height / 2) * math.cos(angle)
        sky += chance.uniform(0.02, 0.1) * np.exp(-((across / 40) ** 2))[..., None]
    if chance.random() < 0.4:
        radius = chance.uniform(4, 20)
        away = np.hypot(rows - chance.uniform(0, height / 2), columns - chance.uniform(0, width))
        sky = np.maximum(sky, np.clip(radius - away + 0.5, 0, 1)[..., None] * 0.9)
    stars = int(chance.integers(40, 600))
    brightness = chance.pareto(1.5, stars)[:, None] * 0.15 * chance.uniform(0.8, 1, (stars, 3))
    np.add.at(
        sky, (chance.integers(0, height, stars), chance.integers(0, width, stars)), brightness
    )
    picture = Image.fromarray((np.clip(sky, 0, 1) * 255).round().astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(float(chance.uniform(0.3, 0.8))))


def line_drawing(chance: np.random.Generator) -> RGB:
    """Thin dark strokes on white: polygons, circles, curves and scribbles."""
    width, height = (LONG, SHORT) if chance.random() < 0.5 else (SHORT, LONG)
    picture = Image.new("RGB", (2 * width, 2 * height), paper(chance))
    draw, dark = ImageDraw.Draw(picture), ink(chance)
    pen = int(chance.integers(2, 6))
    for _ in range(int(chance.integers(4, 14))):
        centre = chance.uniform([0.15 * width, 0.15 * height], [1.85 * width, 1.85 * height])
        reach = float(chance.uniform(40, 260))
        match int(chance.integers(4)):
            case 0:
                corners = int(chance.integers(3, 8))
                turns = chance.uniform(0, 6.3) + 2 * math.pi * np.arange(corners + 1) / corners
            case 1:
                turns = np.linspace(0, 2 * math.pi, 60)
            case 2:
                turns = np.linspace(0, float(chance.uniform(1, 5)), 40)
            case _:
                turns = chance.uniform(0, 2 * math.pi, int(chance.integers(5, 20)))
        stretch = chance.uniform(0.3, 1, 2) * reach
        points = centre + np.stack([np.cos(turns), np.sin(turns)], 1) * stretch
        draw.line([(float(x), float(y)) for x, y in points], dark, pen)
    return picture.resize((width, height), Image.Resampling.BOX)


def placeholder(chance: np.random.Generator) -> RGB:
    """What stands where a picture is missing: a flat ground, an icon, a few words, a frame."""
    width, height = (LONG, SHORT) if chance.random() < 0.7 else (SHORT, SHORT)
    ground = int(chance.integers(200, 250))
    picture = Image.new("RGB", (width, height), (ground,) * 3)
    draw, shade = ImageDraw.Draw(picture), (ground - int(chance.integers(40, 150)),) * 3
    if chance.random() < 0.5:
        inset = int(chance.integers(2, 20))
        draw.rectangle((inset, inset, width - inset, height - inset), outline=shade, width=2)
    side = int(chance.integers(20, 70))
    x, y = width / 2, height / 2 - 20
    box = (x - side, y - side, x + side, y + side)
    match int(chance.integers(4)):
        case 0:
            draw.line(box, shade, 4)
            draw.line((x - side, y + side, x + side, y - side), shade, 4)
        case 1:
            draw.ellipse(box, outline=shade, width=5)
        case 2:
            draw.polygon((x - side, y + side, x, y - side, x + side, y + side), fill=shade)
        case _:
            draw.rectangle(box, outline=shade, width=4)
            draw.ellipse((x - side / 2, y - side / 2, x, y), fill=shade)
    size = float(chance.uniform(12, 26))
    draw.text(
        (width / 2, y + side + 24),
        words(chance, int(chance.integers(1, 4))),
        shade,
        ImageFont.load_default(size),
        anchor="mm",
    )
    return picture


def flat(chance: np.random.Generator) -> RGB:
    """One colour and nothing else."""
    red, green, blue = (int(value) for value in chance.integers(0, 256, 3))
    return Image.new("RGB", (LONG, SHORT), (red, green, blue))


#: Kinds of pages, whose patterns of lines a small network hardly tells from each other.
PAGES: dict[str, Callable[[np.random.Generator], RGB]] = {
    "text pages": plain_pages.text_page,
    "pages on their side": plain_pages.turned_page,
    "dark pages": plain_pages.dark_page,
    "text close by": plain_pages.close_page,
    "listings": plain_pages.listing,
    "forms": plain_pages.form,
    "tables": plain_pages.table,
}
KINDS = PAGES | {
    "night skies": night_sky,
    "line drawings": line_drawing,
    "placeholders": placeholder,
    "flat colours": flat,
}
