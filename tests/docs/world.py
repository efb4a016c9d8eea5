"""A folder with everything that the pages' commands name, each as small as it can be."""

import io
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from tests.data.test_night import night

from percert.images import load_image, save_image
from percert.models.imagenet_networks import SqueezeNet
from percert.models.small_resnet import small_resnet
from percert.tensors import Images

SIDE = 32
COUNTRIES = ("DEU", "KEN", "FRA", "BRA")
PLACES = ((52.52, 13.40), (-1.286, 36.817), (48.86, 2.35), (-23.55, -46.63))  # of the countries
COPIES = {
    "original.png": "chelsea",
    "upload.jpg": "chelsea",
    "other.png": "coffee",
    "reference.png": "chelsea",
    "left.png": "chelsea",
    "right.png": "coffee",
    "photo.jpg": "chelsea",
    "copy.jpg": "chelsea",
    "copy.png": "chelsea",
    "edited.jpg": "chelsea",
    "another.jpg": "coffee",
    "query.jpg": "chelsea",
    "screenshot.png": "coffee",
    "extra.jpg": "astronaut",
    "folder/near.png": "chelsea",
    "more-uploads/far.png": "coffee",
    "uploads/near.png": "chelsea",
    "others/astronaut.png": "astronaut",
    "others/cup.png": "coffee",
}
RECIPE = """
[data]
images = "photos"
side = 32
[teacher]
name = "squeezenet1_0"
weights = "squeezenet.safetensors"
target = "principal"
dimensions = 2
fitted_on = 3
[student]
resize = "box"
[student.lipsim]
depth = 1
channels = 6
dense_depth = 1
dense_inner = 16
embedding = 16
side = 32
[schedule]
steps = 1
batch = 2
warmup = 1
workers = 1
"""


def picture(name: str, size: tuple[int, int] = (SIDE, SIDE), top: int = 0) -> Images:
    """One of scikit-image's photographs, or its lower part, made small."""
    array = torch.from_numpy(getattr(data, name)()[top:, :, :3].copy())
    image = F.interpolate(array.permute(2, 0, 1)[None].float() / 255, size, mode="area")
    return image[0].clamp(0, 1)


def build_world(folder: Path) -> Path:
    """Write images, tables, weights and a recipe into ``folder``."""
    for name, what in COPIES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture(what, (40, 48)).permute(1, 2, 0) * 255).byte().numpy()).save(
            folder / name
        )
    network = _classifier(folder)
    _photographs(folder, network)
    _predictions(folder)
    _training_images(folder / "train.parquet")
    _catalog(folder / "catalog.parquet")
    _held_out(folder)
    _nights(folder / "nights")
    save_file(small_resnet(classes=10).state_dict(), folder / "theta0.safetensors")
    (folder / "tiny-distill.toml").write_text('name = "tiny"\n' + RECIPE)
    (folder / "geo").mkdir()
    shutil.copy(folder / "countries.csv", folder / "geo" / "countries.csv")
    rows = [
        f'"{code}","{code}","GDP","NY.GDP.PCAP.CD","{10**k}"' for k, code in enumerate(COUNTRIES)
    ]
    columns = '"Country Name","Country Code","Indicator Name","Indicator Code","2022"'
    (folder / "API_NY.GDP.PCAP.CD_DS2_en_csv_v2.csv").write_text(
        "\n".join(['"Data Source","World Development Indicators",', "", columns, *rows]) + "\n"
    )
    address = "n{0}.JPEG\thttp://farm1.static.flickr.com/1/{0}_ab.jpg\n"
    (folder / "fall11_urls.txt").write_text("".join(address.format(n) for n in range(1, 9)))
    return folder


def _classifier(folder: Path) -> SqueezeNet:
    """Weights that were drawn, such that logits depend on the image; and a card for them."""
    torch.manual_seed(0)
    network = SqueezeNet().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
    save_file(network.state_dict(), folder / "squeezenet.safetensors")
    (folder / "card.toml").write_text(
        'architecture = "squeezenet1_0"\nweights = "squeezenet.safetensors"\nclasses = 1000\n'
    )
    return network


def _photographs(folder: Path, network: SqueezeNet) -> None:
    """photos/, labels.csv (from 1), photos.csv with groups, and triplets.csv."""
    (folder / "photos" / "private").mkdir(parents=True)
    labels, groups = ["image,label\n"], ["image,label,group\n"]
    for place, name in enumerate(("chelsea", "coffee", "astronaut", "private/chelsea")):
        path = folder / "photos" / f"{name}.png"
        save_image(picture(path.stem, top=100 * (path.parent.name == "private")), path)
        label = int(network(load_image(path)[None]).argmax())
        labels.append(f"{name}.png,{label + 1}\n")
        groups.append(f"{name}.png,{label if place else 7},{COUNTRIES[place]}\n")
    (folder / "labels.csv").write_text("".join(labels))
    (folder / "photos.csv").write_text("".join(groups))
    (folder / "pairs.csv").write_text(
        "reference,changed,observers,said_different\nphoto.jpg,copy.jpg,9,1\n"
        "original.png,upload.jpg,9,3\noriginal.png,other.png,9,9\ncopy.png,another.jpg,9,8\n"
    )
    (folder / "pairs-answers.csv").write_text((folder / "pairs.csv").read_text())
    (folder / "triplets.csv").write_text(
        "reference,left,right\nphotos/chelsea.png,photos/chelsea.png,photos/coffee.png\n"
    )


def _predictions(folder: Path) -> None:
    """Predictions of one model and of sets of them, and the groups' attributes."""
    import pandas as pd

    def predictions(slope: float, models: int, seed: int) -> "pd.DataFrame":
        rng = np.random.default_rng(seed)
        rows = [
            (f"m{model}", f"{group}{image}", group, int(rng.random() < 0.5 + slope * place))
            for model in range(models)
            for place, group in enumerate(COUNTRIES)
            for image in range(60)
        ]
        return pd.DataFrame(rows, columns=["model", "image", "group", "correct"])

    for name in ("predictions.csv", "start.csv", "older.csv"):
        predictions(0.09, 1, 0).drop(columns="model").to_csv(folder / name, index=False)
    decisions = predictions(0.09, 1, 3).assign(label=lambda rows: np.arange(len(rows)) % 2)
    decisions["prediction"] = np.where(decisions["correct"], 1, 0) ^ (1 - decisions["label"])
    decisions.drop(columns="model").to_csv(folder / "decisions.csv", index=False)
    predictions(0.05, 3, 1).to_parquet(folder / "ours.parquet")
    predictions(0.09, 3, 2).to_parquet(folder / "pgd.parquet")
    attributes = pd.DataFrame({"group": COUNTRIES, "log_gdp": [10.8, 7.6, 10.6, 9.1]})
    attributes.assign(photos_a_head=[5.0, 1, 2, 4]).to_csv(folder / "economy.csv", index=False)
    for name in ("countries.csv", "groups.csv"):
        attributes.to_csv(folder / name, index=False)


def _training_images(path: Path) -> None:
    """Images of ten classes, as Hugging Face ``datasets`` has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        pixels = 60 + 120 * (number % 2) + generator.integers(-30, 31, (12, 12, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows, "label": [n % 10 for n in range(12)]}), path)


def _catalog(path: Path) -> None:
    """Photographs by their paths, with ids of a catalog."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["chelsea.png", "coffee.png", "private/chelsea.png"]
    pq.write_table(pa.table({"filepath": names, "sku": ["A-1", "A-2", "A-3"]}), path)


def _held_out(folder: Path) -> None:
    """held-out/ and held-out.csv: whichever of ten classes a model says, groups differ."""
    (folder / "held-out").mkdir()
    rows = ["image,label,group\n"]
    for place, group in enumerate(COUNTRIES):
        for number in range(10 + place):
            name = f"{group}{number}.png"
            save_image(picture("chelsea", (12, 12)), folder / "held-out" / name)
            rows.append(f"{name},{number % 10 if number < 10 else 0},{group}\n")
    (folder / "held-out.csv").write_text("".join(rows))


def _nights(folder: Path) -> None:
    """Two triplets of NIGHT's test split, in its published layout."""
    for part in ("ref", "distort"):
        (folder / part / "000").mkdir(parents=True)
    for i, name in enumerate(("chelsea", "coffee")):
        save_image(picture(name), folder / "ref" / "000" / f"{i:03d}.png")
        for side in (0, 1):
            image = 0.9 * picture(name) if side == i else picture("astronaut")
            save_image(image, folder / "distort" / "000" / f"{i:03d}_{side}.png")
    night(folder, [(i, 1 - i, i, 6, "cat", "test", i == 0) for i in range(2)])
