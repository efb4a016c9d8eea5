"""What every metric usually says: of unrelated photographs, and of a photograph saved as JPEG.

``python -m experiments usual_distances --data DIR`` writes the file that percert itself reads, so
that people can be told what a distance means (:func:`percert.metrics.catalog.typical_distances`).
Pairs are each photograph with the one ``SHIFT`` places on, and with itself after JPEG at quality
``QUALITY``.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from experiments.conditions import write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert.metrics.catalog import CATALOG, TYPICAL_FILE, create_metric

SHIFT, QUALITY, BATCH = 37, 75, 10


def as_jpeg(image: Image.Image) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=QUALITY)
    return Image.open(held).convert("RGB")


@torch.no_grad()
def distances(name: str, first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    metric = create_metric(name, device="cpu")
    parts = [
        metric(a, b)
        for a, b in zip(torch.split(first, BATCH), torch.split(second, BATCH), strict=True)
    ]
    return torch.cat(parts).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=TYPICAL_FILE)
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--metric", help="this one alone; of the others the file keeps what it has")
    options = parser.parse_args()
    photographs = compatible(options.data, options.limit)
    images = as_tensor(photographs)
    copies = as_tensor([as_jpeg(one) for one in photographs])
    strangers = images.roll(-SHIFT, 0)
    kept = json.loads(options.out.read_text()) if options.metric else {}
    found = {}
    for name, card in CATALOG.items():
        if card.checkpoint not in ("none", "optional"):
            continue
        if options.metric not in (None, name):
            found[name] = kept[name]
            continue
        low, middle, high = np.quantile(distances(name, images, strangers), [0.05, 0.5, 0.95])
        jpeg = np.median(distances(name, images, copies))
        entry = {"jpeg": jpeg, "unrelated_low": low, "unrelated": middle, "unrelated_high": high}
        found[name] = {key: float(f"{value:.4g}") for key, value in entry.items()}
        print(name, found[name], flush=True)
    write_result(options.out, found)


if __name__ == "__main__":
    main()
