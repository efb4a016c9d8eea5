"""Teachers by name: what they compute, what tells them apart, and what is said offline."""

import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from percert.models.imagenet_networks import SqueezeNet
from percert.training.distillation.teachers import classifier_teacher, load_teacher


@pytest.fixture
def squeezenet_weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "squeezenet.safetensors"
    save_file(SqueezeNet().state_dict(), path)
    return path


def test_a_classifier_card_teaches_its_pooled_features(squeezenet_weights: Path) -> None:
    teacher = load_teacher("squeezenet1_0", squeezenet_weights)
    torch.manual_seed(1)
    network = SqueezeNet().eval()
    images = torch.rand(2, 3, 64, 70)
    with torch.no_grad():
        expected = network.feature_map(images).mean((2, 3))
    found = teacher(images)
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.dtype == torch.float32
    assert not found.is_inference()


def test_the_fingerprint_names_weights_and_precision(
    squeezenet_weights: Path, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    other = tmp_path / "other.safetensors"
    save_file(SqueezeNet().state_dict(), other)
    prints = [
        load_teacher("squeezenet1_0", squeezenet_weights).fingerprint,
        load_teacher("squeezenet1_0", squeezenet_weights).fingerprint,
        load_teacher("squeezenet1_0", other).fingerprint,
        load_teacher("squeezenet1_0", squeezenet_weights, bf16=True).fingerprint,
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_bf16_stays_near_float32(squeezenet_weights: Path) -> None:
    images = torch.rand(1, 3, 64, 64)
    exact = load_teacher("squeezenet1_0", squeezenet_weights)(images)
    rounded = load_teacher("squeezenet1_0", squeezenet_weights, bf16=True)(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded).item() > 0.99


def test_any_classifier_teaches_what_enters_its_last_linear_layer() -> None:
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.ReLU())
    model = torch.nn.Sequential(body, torch.nn.Linear(5, 10))
    images = torch.rand(3, 3, 2, 2)
    assert torch.equal(classifier_teacher("mine", model)(images), body(images))


def test_dreamsims_parts_are_asked_for_by_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    class Model(torch.nn.Module):
        def embed(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape[1:] == (3, 224, 224)
            return images.mean((2, 3)).squeeze()  # the package squeezes a batch of one

    package = types.ModuleType("dreamsim")
    package.dreamsim = lambda **options: (calls.append(options), (Model(), None))[1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    prints = set()
    for part in ("ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32"):
        teacher = load_teacher("dreamsim" if part == "ensemble" else f"dreamsim:{part}", tmp_path)
        images = torch.rand(1, 3, 20, 20)
        assert teacher(images).shape == (1, 3)
        prints.add(teacher.fingerprint)
        assert calls[-1]["dreamsim_type"] == part
        assert calls[-1]["cache_dir"] == str(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"others")
    prints.add(load_teacher("dreamsim", tmp_path).fingerprint)
    assert len(prints) == 5


def test_offline_a_teacher_says_what_to_fetch_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(**_: object) -> None:
        raise OSError("no network")

    package = types.ModuleType("dreamsim")
    package.dreamsim = offline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    with pytest.raises(ValueError, match=r"fetch dreamsim_clip_vitb32_checkpoint\.zip") as found:
        load_teacher("dreamsim:clip_vitb32", tmp_path / "weights")
    assert f"unpack them in {tmp_path / 'weights'}" in str(found.value)
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(ValueError, match="pip install dreamsim"):
        load_teacher("dreamsim")


def _fake_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = types.ModuleType("timm")

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 10)

        def reset_classifier(self, classes: int) -> None:
            assert classes == 0
            self.fc = torch.nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(images.mean((2, 3)))

    def create(name: str, pretrained: bool, **_: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("no network")
        return Network()

    config = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    timm.is_model = lambda name: name == "small"  # type: ignore[attr-defined]
    timm.list_models = lambda: ["small"]  # type: ignore[attr-defined]
    timm.create_model = create  # type: ignore[attr-defined]
    timm.data = types.SimpleNamespace(resolve_model_data_config=lambda _: config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)


def test_a_timm_network_teaches_without_its_classifier(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fake_timm(monkeypatch)
    weights = tmp_path / "small.safetensors"
    save_file({"fc.weight": torch.zeros(10, 3), "fc.bias": torch.zeros(10)}, weights)
    teacher = load_teacher("timm:small", weights)
    grey = torch.full((2, 3, 40, 40), 0.75)
    assert torch.allclose(teacher(grey), torch.ones(2, 3), atol=1e-5)  # (0.75 - 0.5) / 0.25
    with pytest.raises(ValueError, match=r"cannot be had.*name it as the teacher's weights"):
        load_teacher("timm:small")


@pytest.mark.parametrize("spec", ["", "resnet", "timm:", "dreamsim:vit"])
def test_what_is_not_known_is_refused_with_what_is(spec: str) -> None:
    with pytest.raises(ValueError, match=r"^teacher: .*expected"):
        load_teacher(spec)
