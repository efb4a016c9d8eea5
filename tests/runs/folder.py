"""A small folder of pictures with labels, and the tasks to attack it."""

from pathlib import Path

import torch
import torch.nn.functional as F
from tests.models.tiny_factory import linear

from percert.images import load_image, save_image

SIZES = ((16, 24), (16, 24), (20, 16), (16, 24), (20, 16), (16, 24))


def picture(number: int, size: tuple[int, int]) -> torch.Tensor:
    """A smooth picture ``(3, h, w)`` in [0.1, 0.9], another one for each number."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(number))
    smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=True)[0]
    return 0.1 + 0.8 * smooth


def fill(folder: Path) -> dict[str, int]:
    """Write the pictures and a file that is none; gives what the linear model says of each."""
    model = linear()
    (folder / "in side").mkdir(parents=True)
    found = {}
    for number, size in enumerate(SIZES):
        name = f"in side/p{number}.png" if number % 2 else f"p{number}.png"
        save_image(picture(number, size), folder / name)
        found[name] = int(model(load_image(folder / name)[None]).argmax())
    (folder / "bad.png").write_text("not an image")
    return found
