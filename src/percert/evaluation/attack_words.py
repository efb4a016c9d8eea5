"""How distances are called and numbers written in the tables of attacks."""

from collections.abc import Sequence

TITLES = {
    "l1": "L1",
    "l2": "L2",
    "linf": "L∞",
    "psnr": "PSNR (dB)",
    "mse": "MSE",
    "ssim": "1-SSIM",
    "ms-ssim": "1-MS-SSIM",
    "gmsd": "GMSD",
    "mdsi": "MDSI",
    "haarpsi": "1-HaarPSI",
    "fsim": "1-FSIM",
    "ciede2000": "CIEDE2000",
    "features": "LP",
    "lpips-alex": "LPIPS (alex)",
    "lpips-vgg": "LPIPS (vgg)",
    "lpips-squeeze": "LPIPS (squeeze)",
    "dists": "DISTS",
    "pieapp": "PieAPP",
    "dreamsim": "DreamSim",
}
#: Below this a whole column is written in thousandths, but for distances of pixels.
SMALL = 0.1
PIXELS = ("l1", "l2", "linf")
#: What is larger for images that are closer.
HIGHER = ("psnr",)


def title(name: str) -> str:
    """What a distance is called in a heading.

    >>> title("ssim"), title("thumbnail")
    ('1-SSIM', 'thumbnail')
    """
    return TITLES.get(name, name)


def percent(value: float | None) -> str:
    """A share in per cent; a dash where there is none.

    >>> percent(0.985), percent(None)
    ('98.5 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Three digits that count; a dash where there is none.

    >>> number(0.00123456), number(2491.13), number(None)
    ('0.00123', '2490', '-')
    """
    if value is None:
        return "-"
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e7 else text


def scaled_column(name: str, values: Sequence[float | None]) -> tuple[str, list[str]]:
    """A heading and its cells: in thousandths where all are small, the closest one marked *.

    That is the least distance, and the greatest PSNR.

    >>> scaled_column("dists", [0.008, 0.034])
    ('DISTS (x1000)', ['8 *', '34'])
    """
    there = [value for value in values if value is not None]
    small = name not in PIXELS and bool(there) and max(map(abs, there)) < SMALL
    factor = 1000.0 if small else 1.0
    best = (max if name in HIGHER else min)(there, default=None)
    cells = []
    for value in values:
        cell = number(None if value is None else factor * value)
        cells.append(
            f"{cell} *" if value is not None and value == best and len(there) > 1 else cell
        )
    return f"{title(name)} (x1000)" if factor > 1 else title(name), cells
