"""A tiny data folder: noise for photographs, bars for digits, an untrained SqueezeNet."""

import gzip

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from experiments.papers import Setting
from experiments.papers.hpot import attacks
from experiments.papers.lipsim import triplets
from experiments.papers.printed import LIPSIM_TABLE_1, LIPSIM_TABLE_3
from percert.images import save_image
from percert.models import load_classifier
from percert.models.imagenet_networks import SqueezeNet

NAME = "squeezenet1_0-imagenet.safetensors"


def _idx(path, values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    with gzip.open(path, "wb") as file:
        file.write(head + values.astype(np.uint8).tobytes())


def _bars(count):
    """Digits of ten kinds, each a bright bar at a height of its own, in noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 10
    # Every other digit trains, so that all ten kinds must occur in both halves.
    labels = (labels + np.arange(count) // 10) % 10
    images = rng.integers(0, 40, (count, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 3 : 2 * label + 6, 4:24] = 230
    return images, labels


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A folder as ``--data`` wants it."""
    folder = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    network = SqueezeNet()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # such that the image matters, and not the biases
            torch.nn.init.kaiming_normal_(module.weight)
            torch.nn.init.zeros_(module.bias)
    save_file(network.state_dict(), folder / NAME)
    model = load_classifier("squeezenet1_0", "cpu", folder / NAME)
    pictures = folder / "imagenet-compatible" / "images"
    pictures.mkdir(parents=True)
    lines = ["ImageId,TrueLabel"]
    for place in range(12):
        generator = torch.Generator().manual_seed(place)
        # Brighter and brighter, so that groups by brightness differ.
        image = (0.05 * place + 0.4 * torch.rand(3, 40, 40, generator=generator)).clamp(0, 1)
        image = (255 * image).round() / 255
        save_image(image, pictures / f"p{place:02d}.png")
        with torch.no_grad():
            said = int(model(image[None]).argmax())
        wrong = place % 4 == 3
        lines.append(f"p{place:02d},{(said + 7 * wrong) % 1000 + 1}")
    (folder / "imagenet-compatible" / "images.csv").write_text("\n".join(lines) + "\n")
    (folder / "mnist").mkdir()
    images, labels = _bars(600)
    _idx(folder / "mnist" / "t10k-images-idx3-ubyte.gz", images)
    _idx(folder / "mnist" / "t10k-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def setting(tiny_data, tmp_path):
    return Setting(tmp_path / "out", tiny_data, tiny_data / NAME, images=2)


@pytest.fixture
def quick(monkeypatch):
    """Fewer attacks and steps, small sides: the items call what is tested elsewhere."""
    some = {
        "PGD (L2)": "ascent:steps=60,step=0.5",
        "Human_Perc_OT (a = 0)": "human-perc-ot-literal:steps=3",
    }
    monkeypatch.setattr(attacks, "ATTACKS", some)
    monkeypatch.setattr(attacks, "BESIDE", {"ascent, not in the paper": "ascent:steps=4"})
    for name, value in {
        "hpot.figures.CONFIDENT": {"a = 5": "human-perc-ot-literal:steps=6,confidence=1"},
        "lipsim.embedding.STEPS": 3,
        "lipsim.embedding.SIDE": 32,
        "lipsim.retrieval.STEPS": 3,
        "lipsim.retrieval.SIDE": 32,
        "lipsim.triplets.KINDS": ("noise",),
        "lipsim.triplets.TELLING": ("noise",),
        "lipsim.triplets.SIDE": 32,
        "lipsim.attacked.AUTOATTACK": {
            "short": ("apgd-ce:steps=2",),
            "authors": ("apgd-ce:steps=1",),
            "standard": ("apgd-ce:steps=1", "fab:steps=1,restarts=1", "square:queries=3"),
        },
        "lipsim.attacked.PGD": dict.fromkeys(("short", "authors", "standard"), ("pgd:steps=2",)),
        "lipsim.attacked.LIPSIM_TABLE_1": {
            name: (natural, {eps: found[eps] for eps in (0.5, 2.0)})
            for name, (natural, found) in LIPSIM_TABLE_1.items()
        },
        "lipsim.attacked.LIPSIM_TABLE_3": {
            name: (natural, {0.02: some[0.02]}, {0.02: others[0.02]})
            for name, (natural, some, others) in LIPSIM_TABLE_3.items()
        },
        "lipsim.twoafc.MORE": ("gmsd", "thumbnail"),
        "lipsim.attacked.ATTACKED": {},
    }.items():
        monkeypatch.setattr(f"experiments.papers.{name}", value)
    triplets._small.cache_clear()


@pytest.fixture
def night_data(tiny_data, tmp_path):
    """A folder with NIGHT alone, in its published layout: three triplets of its test set."""
    folder = tmp_path / "published"
    pictures = tiny_data / "imagenet-compatible" / "images"
    lines = ["id,left_vote,right_vote,votes,ref_path,left_path,right_path,prompt,split,is_imagenet"]
    for place in range(3):
        paths = [f"ref/000/{place:03d}.png", *(f"distort/000/{place:03d}_{s}.png" for s in "01")]
        for step, path in enumerate(paths):
            target = folder / "night" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((pictures / f"p{place + step:02d}.png").read_bytes())
        # Neighbours in brightness are the closer ones, whatever a network says.
        lines.append(f"{place},1,0,6,{','.join(paths)},a cat,test,{place % 2 == 0}")
    (folder / "night" / "data.csv").write_text("\n".join(lines) + "\n")
    return folder
