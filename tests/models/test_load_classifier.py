"""Classifiers by name: what arrives at the network, which weights it has, and what is refused."""

import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.tiny_factory import linear
from torch import nn

from percert.models import load_classifier, read_card, read_weights
from percert.models.imagenet_networks import SqueezeNet

FACTORY = "tests.models.tiny_factory"
EYE = {"2.weight": torch.eye(3)}


def card(folder: Path, text: str) -> Path:
    path = folder / "my card.toml"
    path.write_text(text)
    return path


@pytest.fixture
def eye(tmp_path: Path) -> Path:
    path = tmp_path / "eye.safetensors"
    save_file(EYE, path)
    return path


def test_a_card_prepares_images_as_it_says(tmp_path: Path, eye: Path) -> None:
    """The network hands through what it gets: (scale * bgr - mean) / std, by hand."""
    path = card(
        tmp_path,
        f"""
        architecture = "{FACTORY}:head"
        weights = "eye.safetensors"
        channels = "bgr"
        scale = 255
        mean = [100, 110, 120]
        std = [2, 4, 5]
        class_names = ["a", "b", "c"]
        """,
    )
    model = load_classifier(path, "cpu")
    red = torch.tensor([1.0, 0.4, 0.0]).view(1, 3, 1, 1).expand(1, 3, 5, 7)
    assert model(red)[0].tolist() == pytest.approx([-100 / 2, (102 - 110) / 4, (255 - 120) / 5])
    assert model.class_names == ("a", "b", "c")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_images_of_another_precision_are_taken(tmp_path: Path, eye: Path) -> None:
    text = f'architecture = "{FACTORY}:head"\nweights = "eye.safetensors"\nsize = 8\n'
    model = load_classifier(card(tmp_path, text), "cpu")
    images = torch.rand(2, 3, 20, 30)
    expected = model(images)
    assert torch.allclose(model(images.double()), expected, atol=1e-6)
    assert model.double()(images.double()).dtype == torch.float64


def test_the_size_is_what_reaches_the_network(tmp_path: Path, eye: Path) -> None:
    for written, expected in (("8", (8, 8)), ("[6, 10]", (6, 10)), ('"own"', (20, 30))):
        text = f'architecture = "{FACTORY}:head"\nweights = "eye.safetensors"\nsize = {written}\n'
        model = load_classifier(card(tmp_path, text), "cpu")
        seen: list[tuple[int, ...]] = []
        model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))  # noqa: B023  # called at once
        model(torch.rand(1, 3, 20, 30))
        assert seen[0][2:] == expected


def test_the_card_of_squeezenet_is_the_authors_network(tmp_path: Path) -> None:
    expected = SqueezeNet().eval()
    path = tmp_path / "weights of mine.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in expected.state_dict().items()}}, path)
    model = load_classifier("squeezenet1_0", "cpu", weights=path)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        # Channels last adds up in another order.
        assert torch.allclose(model(images), expected(images), rtol=1e-4, atol=1e-5)
    assert model.features[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_weights_override_those_of_the_card_and_of_a_factory(tmp_path: Path, eye: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"2.weight": 2 * torch.eye(3)}, other)
    text = f'architecture = "{FACTORY}:head"\nweights = "eye.safetensors"\n'
    grey = torch.full((1, 3, 4, 4), 0.25)
    for spec in (card(tmp_path, text), f"{FACTORY}:head"):
        model = load_classifier(spec, "cpu", weights=other)
        assert model(grey)[0].tolist() == pytest.approx([0.5] * 3)


def test_a_factory_is_called_and_its_module_taken_as_it_is() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(load_classifier(f"{FACTORY}:linear", "cpu")(images), linear()(images))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("squeezenet1_0", "names no weights; give a file with weights"),
        ("resnet50", "expected a TOML card, timm:NAME"),
        ("nowhere.toml", r"nowhere\.toml: no such file"),
        (f"{FACTORY}:missing", "has no function 'missing'"),
        (f"{FACTORY}:number", r"expected a torch\.nn\.Module, found int"),
        (f"{FACTORY}:picky", "must be callable without arguments"),
        ("no.such.module:make", "cannot be imported"),
    ],
)
def test_what_is_not_there_is_named(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_classifier(spec, "cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes = 3", "expected architecture"),
        ('architecture = "x"\nmeans = [0, 0, 0]', "unknown key 'means'"),
        ('architecture = "x"\nmean = [0, 0]', "expected 3 numbers, one a channel, found 2"),
        ('architecture = "x"\nmean = "rgb"', "expected a list of 3 numbers"),
        ('architecture = "x"\nstd = [1, 0, 1]', "expected more than 0"),
        ('architecture = "x"\nchannels = "grb"', "expected one of 'rgb', 'bgr'"),
        ('architecture = "x"\nsize = 0', "expected a side"),
        ('architecture = "x"\nclasses = 3\nclass_names = ["a"]', "expected 3 class_names"),
        ("architecture = ", "not a TOML file"),
        ('architecture = "x"\nclasses = "many"', "classes: expected a whole number"),
        ('architecture = "x"\nclasses = 0', "classes: expected a whole number above 0"),
        ('architecture = "x"\nscale = "byte"', "scale: expected a number"),
        ('architecture = "x"\nweights = 3', "weights: expected a file, found 3"),
        ('architecture = "x"\nclass_names = "cats"', "class_names: expected a list"),
    ],
)
def test_a_card_that_means_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_card(card(tmp_path, text))
    assert "my card.toml" in str(caught.value)


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.write_text, (self.path, "run")


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.ones(1), "trap": Trap(sprung)}, path)
    with pytest.raises(ValueError, match="loading it could run code, so it is refused"):
        read_weights(path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_a_file_that_holds_no_weights_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not weights")
    with pytest.raises(ValueError, match=name) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no such file of weights"):
        read_weights(tmp_path / "missing.pt")


def test_a_package_that_is_missing_or_broken_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"timm: .*\[timm\]"):
        load_classifier("timm:resnet18", "cpu")


@pytest.fixture
def timm_like(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module with the few functions of timm that are used, whose downloads fail."""
    module = types.ModuleType("timm")

    def create_model(name: str, pretrained: bool, num_classes: int = 3) -> nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))

    module.is_model = lambda name: name == "toy"
    module.list_models = lambda: ["toy"]
    module.create_model = create_model
    module.data = types.SimpleNamespace(
        resolve_model_data_config=lambda _: {
            "input_size": (3, 6, 6),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
        }
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


@pytest.mark.usefixtures("timm_like")
def test_the_weights_of_a_package_that_cannot_be_had_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"timm:toy: weights cannot be had.*no route to host"):
        load_classifier("timm:toy", "cpu")
    with pytest.raises(ValueError, match="knows no model 'toi', did you mean 'toy'"):
        load_classifier("timm:toi", "cpu")
    path = tmp_path / "toy.safetensors"
    save_file({"2.weight": torch.eye(3), "2.bias": torch.zeros(3)}, path)
    model = load_classifier("timm:toy", "cpu", weights=path)
    # Prepared as the package says: resized, (x - 0.5) / 0.25.
    assert model(torch.full((1, 3, 9, 9), 0.75))[0].tolist() == pytest.approx([1.0] * 3)


def test_a_real_network_of_timm_takes_its_weights_from_a_file(tmp_path: Path) -> None:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported here: {error}")
    network = timm.create_model("resnet10t", pretrained=False, num_classes=1000)
    path = tmp_path / "resnet10t.safetensors"
    save_file(network.state_dict(), path)
    assert load_classifier("timm:resnet10t", "cpu", weights=path)(
        torch.rand(1, 3, 64, 64)
    ).shape == (
        1,
        1000,
    )
