"""Every command of the two pages on attacks, in their order, on photographs made small."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data

from percert.images import load_image, save_image
from percert.models.squeezenet import SqueezeNet

for package in ("pyarrow", "matplotlib", "cv2"):
    pytest.importorskip(package, reason="needs the extras 'report' and 'saliency'")

DOCS = Path(__file__).resolve().parents[2] / "docs"
SIDE = 32


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """photos/, labels.csv (from 1), triplets.csv, and weights that were drawn."""
    (tmp_path / "photos").mkdir()
    torch.manual_seed(0)
    network = SqueezeNet().eval()
    for layer in network.modules():  # such that logits depend on the image, as a trained one's do
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
    save_file(network.state_dict(), tmp_path / "squeezenet.safetensors")
    lines = ["image,label\n"]
    for name in ("chelsea", "coffee"):
        array = torch.from_numpy(getattr(data, name)()[..., :3].copy())
        image = F.interpolate(array.permute(2, 0, 1)[None].float() / 255, (SIDE, SIDE), mode="area")
        path = tmp_path / "photos" / f"{name}.png"
        save_image(image[0].clamp(0, 1), path)
        label = int(network(load_image(path)[None]).argmax())
        lines.append(f"{name}.png,{label + 1}\n")
    (tmp_path / "labels.csv").write_text("".join(lines))
    (tmp_path / "triplets.csv").write_text(
        "reference,left,right\nphotos/chelsea.png,photos/chelsea.png,photos/coffee.png\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page):
    """What stands behind a $ in the page's blocks of the shell."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            yield shlex.split(line[2:])


@pytest.mark.parametrize("page", ["attack-a-folder.md", "evaluate-attacks.md"])
def test_the_commands_of_a_page_do_what_it_says(page, folder, percert):
    found = list(commands(page))
    assert len(found) >= 4
    for words in found:
        assert words[0] == "percert"
        percert(*words[1:])
        if "--out" in words:
            out = folder / words[words.index("--out") + 1]
            assert (out / "records.parquet").is_file()
            assert (out / "run.json").is_file()
            assert words[1] != "eval" or (out / "report.html").is_file()
