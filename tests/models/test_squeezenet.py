"""SqueezeNet 1.0: the layout, the input convention, and the accuracy of the real weights."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from percert.models.imagenet_networks import SqueezeNet, squeezenet


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({**SqueezeNet().state_dict(), "features.0.bias": torch.zeros(95)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors: .* 2 keys or shapes differ"):
        squeezenet(path)


def test_weights_come_back_from_a_file_and_ask_for_no_gradient(tmp_path: Path) -> None:
    model = SqueezeNet().eval()
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    loaded = squeezenet(path)
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(loaded(images), model(images))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_input_is_bgr_with_the_authors_mean() -> None:
    """A hook on the first convolution shows what reaches it."""
    model = SqueezeNet().eval()
    seen: list[torch.Tensor] = []
    model.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1).expand(1, 3, 48, 48)
    model(images)
    assert seen[0][0, :, 0, 0].tolist() == [0.0 - 104.0, 127.5 - 117.0, 255.0 - 123.0]


def test_logits_are_the_classifier_on_the_feature_map() -> None:
    model = SqueezeNet(classes=7).eval()
    images = torch.rand(2, 3, 64, 80)
    features = model.feature_map(images)
    assert model.embed(images).shape == (2, 512)
    assert torch.allclose(model.embed(images), features.mean((2, 3)))
    convolution = model.classifier[1]
    weight, bias = convolution.weight.flatten(1), convolution.bias
    expected = torch.einsum("kc,nchw->nkhw", weight, features) + bias.view(1, -1, 1, 1)
    assert torch.allclose(model(images), expected.relu().mean((2, 3)), atol=1e-5)


def test_the_real_weights_classify_real_photographs(shared_data: Path) -> None:
    """56.8 % top-1 was measured on all 1,000 images; 100 of them lie within 15 points of it."""
    weights = shared_data.parent / "weights" / "squeezenet1_0-imagenet.safetensors"
    folder = shared_data / "imagenet-compatible"
    if not weights.is_file() or not folder.is_dir():
        pytest.skip(f"no weights at {weights} or no photographs at {folder}")
    model = squeezenet(weights)
    with (folder / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if (folder / "images" / f"{row['ImageId']}.png").is_file()][:100]
    right = 0
    for row in rows:
        with Image.open(folder / "images" / f"{row['ImageId']}.png") as file:
            pixels = torch.from_numpy(np.asarray(file.convert("RGB")).copy())
        with torch.no_grad():
            logits = model(pixels.permute(2, 0, 1)[None].float() / 255)
        right += int(logits.argmax().item() == int(row["TrueLabel"]) - 1)
    assert len(rows) == 100
    assert 42 <= right <= 72
