"""Pages drawn by code: text, listings, forms, tables, all alike to a network of photographs.

Random words in pillow's own font, so that no machine's fonts matter: the same generator and version
of pillow give the same pixels. All pages are unlike each other to a reader.
"""

from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

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
