"""Small image files of every kind, made on the spot."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

HEIGHT, WIDTH = 24, 30


def smooth() -> npt.NDArray[np.uint8]:
    """A picture that lossy formats keep well: ramps in three directions."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 255 / WIDTH, y * 255 / HEIGHT, 255 - (x + y) * 255 / (WIDTH + HEIGHT)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def png(
    rows: list[bytes], width: int, depth: int, colour: int, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG built by hand, for the kinds that pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def tiff(
    pixels: bytes,
    width: int,
    height: int,
    bits: list[int],
    photometric: int,
    sample_format: int = 1,
) -> bytes:
    """A little-endian TIFF of one strip, built by hand, for kinds that pillow does not write."""
    after = 8 + 2 + 10 * 12 + 4
    depths = struct.pack(f"<{len(bits)}H", *bits)
    at_depths, at_pixels = after, after + len(depths)
    depth_entry = bits[0] if len(bits) == 1 else at_depths
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, len(bits), depth_entry),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, at_pixels),
        (277, 3, 1, len(bits)),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
        (339, 3, 1, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + directory + struct.pack("<I", 0) + depths + pixels


def every_kind() -> dict[str, bytes]:
    """One valid file of each format and compression, by name."""
    picture = Image.fromarray(smooth())
    clear = picture.convert("RGBA")
    clear.putalpha(picture.getchannel("R"))
    exif = oriented(6)
    return {
        "baseline.jpg": encode(picture, "JPEG", quality=95, exif=exif),
        "progressive.jpg": encode(picture, "JPEG", progressive=True),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG"),
        "colour.png": encode(picture, "PNG", exif=exif),
        "alpha.png": encode(clear, "PNG"),
        "palette.png": encode(picture.quantize(16), "PNG", transparency=3),
        "grey16.png": encode(Image.fromarray(np.uint16(smooth()[..., 0]) * 257), "PNG"),
        "lossy.webp": encode(picture, "WEBP", exif=exif),
        "lossless.webp": encode(clear, "WEBP", lossless=True),
        "colour.bmp": encode(picture, "BMP"),
        "palette.bmp": encode(picture.quantize(16), "BMP"),
        "raw.tif": encode(picture, "TIFF", exif=exif),
        "float.tif": encode(Image.fromarray(smooth()[..., 0].astype(np.float32) / 255), "TIFF"),
        "packbits.tif": encode(picture, "TIFF", compression="packbits"),
        "lzw.tif": encode(picture, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encode(picture, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": encode(picture, "TIFF", compression="jpeg"),
        "fax.tif": encode(picture.convert("1"), "TIFF", compression="group4"),
    }
