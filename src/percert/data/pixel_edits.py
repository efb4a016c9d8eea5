"""The operations behind the catalogs of edits: RGB pillow images to RGB pillow images.

Text that is drawn over photographs is sized to the place it is given.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

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


RGB = Image.Image


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def jpeg(image: RGB, quality: int) -> RGB:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return decoded.convert("RGB")


def rescale(image: RGB, factor: float) -> RGB:
    return image.resize(_scaled(image.size, factor), Image.Resampling.BICUBIC)


def crop(image: RGB, generator: np.random.Generator, keep: float, centred: bool) -> RGB:
    """Keep ``keep`` of each side."""
    width, height = _scaled(image.size, keep)
    spare = np.array([image.width - width, image.height - height])
    left, top = (spare // 2 if centred else generator.integers(0, spare + 1)).tolist()
    return image.crop((left, top, left + width, top + height))


def enhance(image: RGB, kind: Callable[[RGB], ImageEnhance._Enhance], factor: float) -> RGB:
    return kind(image).enhance(factor)


def blur(image: RGB, radius: float) -> RGB:
    return image.filter(ImageFilter.GaussianBlur(radius))


def noise(image: RGB, generator: np.random.Generator, sigma: float) -> RGB:
    """Gaussian noise of standard deviation ``sigma`` in 8-bit units, rounded and clipped."""
    pixels = np.asarray(image, dtype=np.float64)
    noisy = pixels + generator.normal(0.0, sigma, pixels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def caption(image: RGB, generator: np.random.Generator) -> RGB:
    """A white bar with a line of text over the bottom 12 % of the height."""
    edited = image.copy()
    bar = max(1, round(0.12 * image.height))
    top = image.height - bar
    ImageDraw.Draw(edited).rectangle((0, top, image.width, image.height), fill="white")
    write_lines(edited, generator, (0, top, image.width, image.height), 1, "black", None)
    return edited


def heavy_text(image: RGB, generator: np.random.Generator) -> RGB:
    """Four lines of large outlined text over the whole image."""
    edited = image.copy()
    write_lines(edited, generator, (0, 0, image.width, image.height), 4, "white", "black")
    return edited


def rotate(image: RGB, degrees: float) -> RGB:
    """Rotate about the centre at the same size: the corners turn black."""
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def rotate_cropped(image: RGB, degrees: float) -> RGB:
    """Rotate, then keep the largest centred box of the same proportions without black corners."""
    angle = np.deg2rad(abs(degrees))
    ratio = max(image.width / image.height, image.height / image.width)
    keep = 1.0 / (np.cos(angle) + ratio * np.sin(angle))
    width, height = int(image.width * keep), int(image.height * keep)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return rotate(image, degrees).crop((left, top, left + width, top + height))


def hue(image: RGB, turn: float) -> RGB:
    """Rotate the hue by ``turn`` of the full circle."""
    pixels = np.asarray(image.convert("HSV")).copy()
    pixels[..., 0] += np.uint8(round(turn * 256) % 256)
    return Image.fromarray(pixels, "HSV").convert("RGB")


def channel_gain(image: RGB, generator: np.random.Generator) -> RGB:
    """Multiply the three channels by 0.6, 1 and 1.4, in random order."""
    gains = generator.permutation([0.6, 1.0, 1.4])
    pixels = np.asarray(image, dtype=np.float64) * gains
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def border(image: RGB, share: float, colour: str | None) -> RGB:
    """Add a border of ``share`` of the side on every side; without a colour, the blurred image."""
    across, down = round(image.width * share), round(image.height * share)
    size = (image.width + 2 * across, image.height + 2 * down)
    if colour is None:
        canvas = image.resize(size, Image.Resampling.BICUBIC)
        canvas = blur(canvas, max(image.size) / 20)
    else:
        canvas = Image.new("RGB", size, colour)
    canvas.paste(image, (across, down))
    return canvas


def collage(image: RGB, generator: np.random.Generator, other: RGB | None = None) -> RGB:
    """Paste at 70 % of each side, somewhere on another photograph of the same size."""
    if other is None:
        raise ValueError("collage: needs another photograph to paste onto, found none")
    canvas = other.convert("RGB").resize(image.size, Image.Resampling.BICUBIC)
    small = image.resize(_scaled(image.size, 0.7), Image.Resampling.BICUBIC)
    spare = np.array([image.width - small.width, image.height - small.height])
    left, top = generator.integers(0, spare + 1).tolist()
    canvas.paste(small, (left, top))
    return canvas


def mirror(image: RGB) -> RGB:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def grey(image: RGB) -> RGB:
    return image.convert("L").convert("RGB")
