"""Text drawn over photographs, sized to the place it is given."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WORDS = (
    *("when", "you", "finally", "see", "it", "again", "nobody", "believes", "this", "today"),
    *("best", "photo", "ever", "taken", "share", "with", "friends", "follow", "breaking", "live"),
)


def write_lines(
    image: Image.Image,
    generator: np.random.Generator,
    box: tuple[int, int, int, int],
    lines: int,
    fill: str,
    outline: str | None,
) -> None:
    """Draw ``lines`` lines of random words into ``box`` (left, top, right, bottom) of ``image``.

    Each line fills 90 % of the width, or 70 % of its share of the height where that is reached
    first. The image is changed in place. The font is pillow's own, so no machine's fonts matter.
    """
    left, top, right, bottom = box
    draw = ImageDraw.Draw(image)
    height = (bottom - top) / lines
    for line in range(lines):
        text = " ".join(generator.choice(_WORDS, size=3 if lines > 1 else 5))
        size = max(0.7 * height, 1.0)
        length = max(draw.textlength(text, font=ImageFont.load_default(size)), 1.0)
        size *= min(1.0, 0.9 * (right - left) / length)
        font = ImageFont.load_default(max(size, 1.0))
        draw.text(
            ((left + right) / 2, top + (line + 0.5) * height),
            text,
            fill=fill,
            font=font,
            anchor="mm",
            stroke_width=round(size / 12) if outline else 0,
            stroke_fill=outline,
        )
