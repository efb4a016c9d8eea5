"""What every kind of pixel becomes: float32 sRGB in [0, 1]."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from PIL import Image, ImageCms
from tests.images.pictures import encode, every_kind, oriented, png, smooth, tiff
from torch import Tensor

from percert.images import ImageError, load_image


def load(tmp_path: Path, data: bytes) -> Tensor:
    path = tmp_path / "picture"
    path.write_bytes(data)
    image = load_image(path)
    assert image.dtype == torch.float32
    assert image.shape[0] == 3
    assert image.is_contiguous()
    assert 0 <= image.min() <= image.max() <= 1
    return image


def levels(image: Tensor) -> list[list[float]]:
    """Each pixel in reading order as levels of 0 to 255."""
    return (image.double() * 255).flatten(1).T.round(decimals=3).tolist()


def expected(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).permute(2, 0, 1)


@pytest.mark.parametrize("name", every_kind())
def test_every_kind_of_file_is_read(tmp_path: Path, name: str) -> None:
    image = load(tmp_path, every_kind()[name])
    picture = expected(smooth())
    if name in ("baseline.jpg", "colour.png", "lossy.webp", "raw.tif"):
        picture = picture.rot90(-1, (1, 2))
    if name in ("grey16.png", "float.tif"):
        picture = picture[:1].expand(3, -1, -1)
    if name in ("alpha.png", "lossless.webp"):
        alpha = picture[:1]
        picture = alpha * picture + (1 - alpha)
    if name == "fax.tif":
        assert set(image.unique().tolist()) == {0, 1}
        return
    assert image.shape == picture.shape
    # Levels lost to 16 palette entries, to the lossy formats, and to no other.
    tolerance = {"palette": 0.07, "colour": 1e-6, "raw": 1e-6, "lzw": 1e-6, "deflate": 1e-6}
    if name == "palette.png":  # entry 3 is transparent, hence white
        keep = (image != 1).any(dim=0)
        assert 0 < keep.sum() < keep.numel()
        image, picture = image[:, keep], picture[:, keep]
    assert (image - picture).abs().mean() <= tolerance.get(name.split(".")[0], 0.04)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF"])
def test_eight_bit_values_are_exact(tmp_path: Path, format_: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image = load(tmp_path, encode(Image.fromarray(pixels), format_))
    assert torch.equal(image, expected(pixels))


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_one_bit_and_palette(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(smooth()).convert(mode)
    image = load(tmp_path, encode(picture, "PNG"))
    assert torch.equal(image, expected(np.asarray(picture.convert("RGB"))))


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 255, 51]]], dtype=np.uint8)
    image = load(tmp_path, encode(Image.fromarray(pixels), "PNG"))
    assert levels(image) == [[255, 255, 255], [10, 20, 30], [204, 224, 255]]


def test_alpha_rounds_to_the_nearest_level(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    image = load(tmp_path, encode(Image.fromarray(pixels), "PNG"))
    alpha = pixels[..., 3:] / 255
    exact = alpha * pixels[..., :3] + (1 - alpha) * 255
    assert np.abs(np.array(levels(image)) - exact.reshape(-1, 3)).max() <= 0.5 + 1e-3
    assert torch.equal((image * 255).round() / 255, image)


def test_grey_with_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[[0, 51], [100, 255]]], dtype=np.uint8), "LA")
    assert levels(load(tmp_path, encode(picture, "PNG"))) == [[204] * 3, [100] * 3]


def test_palette_with_transparency(tmp_path: Path) -> None:
    palette = (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
    some = png([bytes([0, 1, 2])], 3, 8, 3, palette, (b"tRNS", bytes([0, 51])))
    assert levels(load(tmp_path, some)) == [[255] * 3, [204, 255, 204], [0, 0, 255]]
    one = png([bytes([0, 1, 2])], 3, 8, 3, palette, (b"tRNS", bytes([255, 0])))
    assert levels(load(tmp_path, one)) == [[255, 0, 0], [255] * 3, [0, 0, 255]]


@pytest.mark.parametrize(
    ("depth", "row", "key", "found"),
    [
        (1, bytes([0b01000000]), 0, [255, 255]),
        (1, bytes([0b01000000]), 1, [0, 255]),
        (2, bytes([0b10010000]), 2, [255, 85]),
        (4, bytes([0x5A]), 5, [255, 170]),
        (8, bytes([5, 90]), 5, [255, 90]),
        (16, struct.pack(">2H", 1285, 23130), 1285, [255, 90]),
    ],
)
def test_grey_with_a_transparent_level(
    tmp_path: Path, depth: int, row: bytes, key: int, found: list[int]
) -> None:
    data = png([row], 2, depth, 0, (b"tRNS", struct.pack(">H", key)))
    assert levels(load(tmp_path, data)) == [[value] * 3 for value in found]


def test_colour_with_a_transparent_value(tmp_path: Path) -> None:
    data = png([bytes([1, 2, 3, 4, 5, 6])], 2, 8, 2, (b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert levels(load(tmp_path, data)) == [[255] * 3, [4, 5, 6]]


def test_premultiplied_alpha(tmp_path: Path) -> None:
    # Half of mid grey at alpha 128: the stored colour is already multiplied.
    pixels = struct.pack("8B", 64, 64, 64, 128, 10, 20, 30, 255)
    head = tiff(pixels, 2, 1, [8, 8, 8, 8], 2)
    entry = struct.pack("<HHII", 339, 3, 1, 1)
    extra = struct.pack("<HHII", 338, 3, 1, 1)  # associated alpha, in the sample format's place
    image = load(tmp_path, head.replace(entry, extra))
    assert image[0, 0, 0].item() * 255 == pytest.approx(64 + 127, abs=1)
    assert levels(image)[1] == [10, 20, 30]


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("format_", ["TIFF", "JPEG"])
def test_cmyk(tmp_path: Path, format_: str, ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    # Pillow writes CMYK JPEG as Adobe does: inverted, with the marker that says so.
    data = encode(Image.new("CMYK", (16, 16), ink), format_)
    image = load(tmp_path, data)
    assert np.abs(np.array(levels(image)) - np.array(colour)).max() <= 3


@pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="pillow before 13 reads none"
)
def test_ycbcr_tiff(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth()).convert("YCbCr")
    data = tiff(picture.tobytes(), *picture.size, [8, 8, 8], 6)
    image = load(tmp_path, data)
    assert torch.equal(image, expected(np.asarray(picture.convert("RGB"))))


def test_sixteen_bit_grey_is_not_truncated(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255, 256, 32768, 65535]], dtype=np.uint16)
    exact = torch.from_numpy(values[0].astype(np.float64) / 65535).float()
    big = png([values.astype(">u2").tobytes()], 6, 16, 0)
    little = tiff(values.astype("<u2").tobytes(), 6, 1, [16], 1)
    swapped = encode(Image.frombytes("I;16B", (6, 1), values.astype(">u2").tobytes()), "TIFF")
    for data in (big, little, swapped):
        image = load(tmp_path, data)
        assert torch.equal(image, exact.expand(3, 1, 6))


def test_white_is_zero_in_deep_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 65535, 13107]], dtype="<u2")
    assert levels(load(tmp_path, tiff(values.tobytes(), 3, 1, [16], 0)))[:2] == [[255] * 3, [0] * 3]
    floats = np.array([[0, 1, 0.25]], dtype="<f4")
    image = load(tmp_path, tiff(floats.tobytes(), 3, 1, [32], 0, 3))
    assert image[0].flatten().tolist() == [1, 0, 0.75]


def test_twelve_bit_grey(tmp_path: Path) -> None:
    # Two pixels in three bytes: 0xFFF and 0x800.
    image = load(tmp_path, tiff(bytes([0xFF, 0xF8, 0x00]), 2, 1, [12], 1))
    torch.testing.assert_close(image[0, 0], torch.tensor([1.0, 0x800 / 0xFFF]))


def test_integer_tiff_beyond_sixteen_bits_is_refused(tmp_path: Path) -> None:
    def data(*values: int) -> bytes:
        return tiff(struct.pack(f"<{len(values)}i", *values), len(values), 1, [32], 1, 2)

    assert levels(load(tmp_path, data(0, 65535))) == [[0] * 3, [255] * 3]
    for values in ((0, 65536), (-1, 4)):
        with pytest.raises(ImageError, match=r"integer grey pixels lie in .*\[0, 65535\]"):
            load(tmp_path, data(*values))


@pytest.mark.parametrize("values", [(0, 255), (7, 1), (0, 1)])
def test_integer_tiff_that_may_be_of_eight_bits_is_refused(
    tmp_path: Path, values: tuple[int, ...]
) -> None:
    data = tiff(struct.pack("<2i", *values), 2, 1, [32], 1, 2)
    with pytest.raises(ImageError, match="of 8 bits, or dark ones of 16"):
        load(tmp_path, data)
    assert levels(load(tmp_path, tiff(bytes(8), 2, 1, [32], 1, 2))) == [[0] * 3] * 2
    deep = struct.pack("<2H", *values)
    exact = [[round(255 * value / 65535, 3)] * 3 for value in values]
    assert levels(load(tmp_path, tiff(deep, 2, 1, [16], 1))) == exact


def test_float_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 0.1, 1]], dtype=np.float32)
    image = load(tmp_path, encode(Image.fromarray(values), "TIFF"))
    assert torch.equal(image, torch.from_numpy(values).expand(3, 1, 3))
    for bad in (255.0, -0.5, float("nan"), float("inf")):
        with pytest.raises(ImageError, match=r"float pixels lie in .*must lie in \[0, 1\]"):
            load(tmp_path, encode(Image.fromarray(np.array([[0.5, bad]], np.float32)), "TIFF"))


def test_sixteen_bit_colour_keeps_the_high_byte(tmp_path: Path) -> None:
    values = np.array([[[0, 255, 256], [32768, 65535, 55746]]], dtype=np.uint16)
    files = [
        png([values.astype(">u2").tobytes()], 2, 16, 2),
        tiff(values.astype("<u2").tobytes(), 2, 1, [16, 16, 16], 2),
    ]
    for data in files:
        image = load(tmp_path, data)
        assert torch.equal(image, expected(values >> 8))
        exact = torch.from_numpy(values / 65535).permute(2, 0, 1)
        assert ((exact - image) <= 1 / 257 + 1e-6).all()


def test_lab_tiff_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="pixels of mode LAB, which has no conversion to sRGB"):
        load(tmp_path, tiff(bytes(12), 2, 2, [8, 8, 8], 8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_exif_orientation(
    tmp_path: Path, format_: str, options: dict[str, object], orientation: int
) -> None:
    """The seen picture is stored turned, by EXIF's own words for where row 0 and column 0 are."""
    seen = smooth()
    stored = {
        1: seen,  # top, left
        2: seen[:, ::-1],  # top, right
        3: seen[::-1, ::-1],  # bottom, right
        4: seen[::-1],  # bottom, left
        5: seen.transpose(1, 0, 2),  # left, top
        6: seen.transpose(1, 0, 2)[::-1],  # right, top
        7: seen.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: seen.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }[orientation]
    picture = Image.fromarray(np.ascontiguousarray(stored))
    image = load(tmp_path, encode(picture, format_, exif=oriented(orientation), **options))
    assert image.shape == (3, *seen.shape[:2])
    assert (image - expected(seen)).abs().max() <= (0.03 if format_ == "JPEG" else 0)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(tmp_path: Path, value: int) -> None:
    image = load(tmp_path, encode(Image.fromarray(smooth()), "PNG", exif=oriented(value)))
    assert torch.equal(image, expected(smooth()))


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth())
    data = encode(picture, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert torch.equal(load(tmp_path, data), expected(smooth()))


def test_the_first_picture_of_an_mpo(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (16, 16), name) for name in ("red", "blue"))
    image = load(tmp_path, encode(red, "MPO", save_all=True, append_images=[blue]))
    assert image.mean(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.02)


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: nobody can miss whether it was applied."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.find(b"rXYZ"), data.find(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def test_colour_profile_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), (200, 50, 20))
    image = load(tmp_path, encode(picture, "PNG", icc_profile=swapped_profile()))
    assert np.abs(np.array(levels(image)) - (50, 200, 20)).max() <= 2


def test_colour_profile_is_applied_below_alpha(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 4), (200, 50, 20, 51))
    image = load(tmp_path, encode(picture, "PNG", icc_profile=swapped_profile()))
    assert np.abs(np.array(levels(image)) - (214, 244, 208)).max() <= 1


def test_srgb_profile_leaves_the_pixels_alone(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = load(tmp_path, encode(Image.fromarray(pixels), "PNG", icc_profile=profile))
    assert torch.equal(image, expected(pixels))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
@pytest.mark.parametrize("profile", ["garbage", "of another mode"])
def test_unusable_profile_is_ignored(tmp_path: Path, mode: str, profile: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = b"garbage" * 40 if profile == "garbage" else srgb
    picture = Image.fromarray(smooth()).convert(mode)
    image = load(tmp_path, encode(picture, "PNG", icc_profile=icc))
    assert torch.equal(image, expected(np.asarray(picture.convert("RGB"))))


def test_avif(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth())
    try:
        data = encode(picture, "AVIF", quality=100, subsampling="4:4:4", exif=oriented(6))
    except (KeyError, OSError):
        pytest.skip("this pillow does not write AVIF")
    image = load(tmp_path, data)
    assert image.shape == (3, 30, 24)
    assert (image - expected(smooth()).rot90(-1, (1, 2))).abs().mean() <= 0.01


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture = Image.fromarray(smooth())
    try:
        data = encode(picture, "HEIF", quality=100)
    except (KeyError, OSError, RuntimeError):
        pytest.skip("this pillow-heif does not write HEIC")
    image = load(tmp_path, data)
    assert image.shape == (3, 24, 30)
    assert (image - expected(smooth())).abs().mean() <= 0.03
    assert "damaged" in _reason(tmp_path, data[: len(data) // 2])


def test_heic_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from percert.images import formats

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats.why_not_readable.cache_clear()
    start = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    found = _reason(tmp_path, start)
    assert found.startswith("a HEIC file, which needs pillow-heif: pip install ")
    assert "heic" in found
    formats.why_not_readable.cache_clear()


def _reason(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        load(tmp_path, data)
    return caught.value.reason


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    Image.fromarray(smooth()).save(stream := io.BytesIO(), "PNG")
    path.write_bytes(stream.getvalue())
    assert torch.equal(load_image(str(path)), expected(smooth()))
