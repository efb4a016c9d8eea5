"""A data folder of a few photographs, labelled images and a random teacher, made in a second."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

RECIPE = """
name = "lipsim-tiny"
seed = 3
[[data]]
path = "imagenet-samples"
share = 4
side = 144
[[data]]
path = "tiny-imagenet-32/train.parquet"
share = 4
side = 32
crop = 0.75
classes = true
[[teachers]]
weights = "teacher.safetensors"
size = 112
imitation = 0.1
angles = 0.2
dimensions = 8
[network]
width = 48
depths = [1, 1, 1]
embedding = 64
inner = 16
[schedule]
steps = 6
triplets = 2
save_every = 2
warmup = 1
[distortions]
weight = 0.3
[semantics]
weight = 0.3
"""


def make_world(root: Path) -> Path:
    """Fill ``root`` with data and a recipe; returns the recipe's path. Needs pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from percert.models.imagenet_networks import SqueezeNet

    generator = np.random.default_rng(0)
    (root / "imagenet-samples").mkdir(parents=True)
    for number in range(6):
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((192, 160), Image.Resampling.BICUBIC)
        photo.save(root / "imagenet-samples" / f"{number}.png")
    rows = []
    for _ in range(12):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    (root / "tiny-imagenet-32").mkdir()
    table = pa.table({"image": rows, "label": [number // 3 for number in range(12)]})
    pq.write_table(table, root / "tiny-imagenet-32" / "train.parquet")
    torch.manual_seed(0)
    save_file(SqueezeNet().state_dict(), root / "teacher.safetensors")
    recipe = root / "recipe.toml"
    recipe.write_text(RECIPE)
    return recipe
