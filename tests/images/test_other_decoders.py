"""TIFF of many kinds as tifffile writes it: decoded rightly, or refused with a reason."""

import io
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from percert.images import ImageError
from percert.images.load import decode_image

tifffile = pytest.importorskip("tifffile")

#: By name: samples, photometric interpretation, extra samples.
KINDS = {
    "L": (1, "minisblack", []),
    "LA": (2, "minisblack", ["unassalpha"]),
    "RGB": (3, "rgb", []),
    "RGBA": (4, "rgb", ["unassalpha"]),
    "RGBX": (4, "rgb", ["unspecified"]),
    "CMYK": (4, "separated", []),
}
LAYOUTS = list(product(("contig", "separate"), (None, "zlib"), (None, (16, 32), 5), "<>"))
DEPTHS = ("u1", "u2", "f4", "i4")


def seen(values: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """What samples ``(h, w, samples)`` in [0, 1] look like on white: ``(h, w, 3)``."""
    if kind in ("LA", "RGBA"):
        alpha = values[..., -1:]
        return np.broadcast_to(alpha * values[..., :-1] + 1 - alpha, (*values.shape[:2], 3))
    if kind == "CMYK":
        return (1 - values[..., :3]) * (1 - values[..., 3:])
    return np.broadcast_to(values[..., :3], (*values.shape[:2], 3))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_tiff_is_right_or_refused(kind: str, depth: str) -> None:
    samples, photometric, extra = KINDS[kind]
    top = {"u1": 255, "u2": 65535, "i4": 65535, "f4": 1}[depth]
    values = np.random.default_rng(0).random((37, 53, samples)) * top
    values = values if depth == "f4" else values.round()
    read, refused = 0, set[str]()
    for planes, compression, cut, order in LAYOUTS:
        if samples == 1 and planes == "separate":
            continue
        written = values.astype(np.dtype(depth).newbyteorder(order))
        stream = io.BytesIO()
        tifffile.imwrite(
            stream,
            np.moveaxis(written, -1, 0) if planes == "separate" else written.squeeze(),
            photometric=photometric,
            planarconfig=None if samples == 1 else planes,
            compression=compression,
            tile=cut if isinstance(cut, tuple) else None,
            rowsperstrip=cut if isinstance(cut, int) else None,
            byteorder=order,
            extrasamples=extra or None,
            metadata=None,
        )
        try:
            found = decode_image(stream.getvalue(), "x").permute(1, 2, 0).numpy()
        except ImageError as error:
            refused.add(error.reason)
            continue
        read += 1
        # Pillow keeps the high byte of 16-bit colour, of two samples where they are multiplied.
        most = {"u1": 0.51 / 255, "u2": 2.2 / 256}.get(depth, 1e-6)
        most = 1.01 / 255 if depth == "u1" and kind == "CMYK" else most
        assert np.abs(found - seen(values / top, kind)).max() <= most, (planes, compression, cut)
    assert read or depth != "u1" or kind == "RGBX"
    assert all("decodes wrongly" in one or "cannot be decoded" in one for one in refused)
    if (kind, depth) in (("RGB", "u1"), ("RGBA", "u1"), ("CMYK", "u1")):
        assert read == len(LAYOUTS)


def test_opencv_agrees_on_planes() -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="rgb", planarconfig="separate", metadata=None)
    data = stream.getvalue()
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    ours = (decode_image(data, "x") * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(ours, other)
