"""Pictures with little in them, drawn by code: strangers that a network of photographs mixes up.

Pages (text, listings, forms, tables), night skies, line drawings, placeholders and flat colours,
all unlike each other to a reader and much alike at 64 pixels. Words are random, in pillow's own
font, so that no machine's fonts matter: the same seed and version of pillow give the same pixels.
"""

import math
import zlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

RGB = Image.Image
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
#: The longer and the shorter side of every page.
LONG, SHORT = 420, 300

_SYLLABLES = (
    *("an", "ber", "co", "da", "el", "fin", "gor", "ha", "in", "jo", "ka", "lu", "mi", "no"),
    *("or", "pe", "qua", "ri", "sa", "ten", "u", "ver", "wa", "xi", "yon", "ze"),
)


def text_page(chance: np.random.Generator) -> RGB:
    """A printed page: margins, perhaps a heading and two columns, paragraphs of random words."""
    page = Image.new("RGB", (SHORT, LONG), paper(chance))
    draw = ImageDraw.Draw(page)
    size = float(chance.uniform(7, 13))
    font, dark = ImageFont.load_default(size), ink(chance)
    left, top = int(chance.integers(16, 40)), int(chance.integers(16, 50))
    if chance.random() < 0.5:
        draw.text((left, top), words(chance, 3).title(), dark, ImageFont.load_default(2 * size))
        top += round(3.5 * size)
    columns = 1 + int(chance.random() < 0.4)
    gap = 14
    width = (SHORT - 2 * left - gap * (columns - 1)) / columns
    leading = size * float(chance.uniform(1.15, 1.7))
    for column in range(columns):
        x, y = left + column * (width + gap), float(top)
        bottom = LONG - chance.uniform(16, 120)
        rest = int(chance.integers(3, 12))
        while y < bottom:
            short = rest == 0
            room = width * (float(chance.uniform(0.2, 0.9)) if short else 1.0)
            draw.text((x, y), fill_line(chance, font, room), dark, font)
            y += leading * (1.8 if short else 1.0)
            rest = int(chance.integers(3, 12)) if short else rest - 1
    return page


def turned_page(chance: np.random.Generator) -> RGB:
    """A page of text that lies on its side."""
    return text_page(chance).transpose(Image.Transpose.ROTATE_90)


def dark_page(chance: np.random.Generator) -> RGB:
    """A page of light text on black."""
    return ImageOps.invert(text_page(chance))


def close_page(chance: np.random.Generator) -> RGB:
    """The middle of a page of text: no margins, fewer and larger lines."""
    left, top = (int(chance.integers(10, side)) for side in (50, 90))
    return text_page(chance).crop((left, top, left + 200, top + 280))


def listing(chance: np.random.Generator) -> RGB:
    """A program in colours on a dark ground."""
    page = Image.new("RGB", (LONG, SHORT), (30, 30, 30))
    draw, size = ImageDraw.Draw(page), float(chance.uniform(7, 11))
    font, y = ImageFont.load_default(size), 8.0
    while y < SHORT:
        x = 10.0 + 14 * int(chance.integers(0, 4))
        for _ in range(int(chance.integers(0, 7))):
            word = "".join(chance.choice(list("abcdefgh_(){}=.:"), chance.integers(2, 9)))
            red, green, blue = (int(value) for value in chance.integers(110, 255, 3))
            draw.text((x, y), word, (red, green, blue), font)
            x += font.getlength(word) + 4
        y += 1.4 * size
    return page


def form(chance: np.random.Generator) -> RGB:
    """Labels with empty boxes behind them."""
    page = Image.new("RGB", (SHORT, LONG), paper(chance))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(9)
    for row in range(int(chance.integers(5, 14))):
        y = 20 + 28 * row
        draw.text((20, y), words(chance, 1), (0, 0, 0), font)
        draw.rectangle(
            (100, y - 3, 100 + int(chance.integers(60, 180)), y + 14), outline=(90, 90, 90)
        )
    return page


def table(chance: np.random.Generator) -> RGB:
    """Numbers between lines."""
    page = Image.new("RGB", (LONG, SHORT), paper(chance))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(8)
    columns, rows = int(chance.integers(3, 8)), int(chance.integers(6, 18))
    wide, high = (LONG - 30) / columns, (SHORT - 30) / rows
    for row in range(rows + 1):
        draw.line((15, 15 + row * high, LONG - 15, 15 + row * high), (0, 0, 0))
    for column in range(columns + 1):
        draw.line((15 + column * wide, 15, 15 + column * wide, SHORT - 15), (0, 0, 0))
    for row in range(rows):
        for column in range(columns):
            number = str(int(chance.integers(0, 10**6)))
            draw.text((18 + column * wide, 17 + row * high), number, (0, 0, 0), font)
    return page


def paper(chance: np.random.Generator) -> tuple[int, int, int]:
    """The colour of a sheet."""
    white = int(chance.integers(238, 256))
    return white, white, white - int(chance.integers(0, 12))


def ink(chance: np.random.Generator) -> tuple[int, int, int]:
    """The colour of print."""
    dark = int(chance.integers(0, 60))
    return dark, dark, dark


def words(chance: np.random.Generator, count: int) -> str:
    """``count`` words of random syllables."""
    return " ".join("".join(chance.choice(_SYLLABLES, chance.integers(1, 4))) for _ in range(count))


def fill_line(chance: np.random.Generator, font: Font, room: float) -> str:
    """Words up to a width of ``room`` pixels; one at least."""
    line, space = [words(chance, 1)], font.getlength(" ")
    length = font.getlength(line[0])
    while (length := length + space + font.getlength(word := words(chance, 1))) <= room:
        line.append(word)
    return " ".join(line)


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
    "text pages": text_page,
    "pages on their side": turned_page,
    "dark pages": dark_page,
    "text close by": close_page,
    "listings": listing,
    "forms": form,
    "tables": table,
}
KINDS = PAGES | {
    "night skies": night_sky,
    "line drawings": line_drawing,
    "placeholders": placeholder,
    "flat colours": flat,
}
