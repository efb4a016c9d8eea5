"""Features, LPIPS, DISTS and PieAPP against piq's networks and slow, obvious twins.

All on random weights in the published files' real layouts, written here and read back.
"""

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from percert.metrics.deep.backbones import FILES, TAPS
from percert.metrics.deep.dists import DISTS
from percert.metrics.deep.features import Features, feature_distance, squeezenet_features, unit
from percert.metrics.deep.lpips import LPIPS
from percert.metrics.deep.pieapp import FILE as PIEAPP_FILE
from percert.metrics.deep.pieapp import PieAPP
from percert.models.imagenet_networks import FEATURE_LAYERS, SqueezeNet

#: torchvision's layers of each trunk: a convolution's (out, in, kernel, stride, padding), pooling
#: ("max", kernel, ceil), a fire module's (in, squeeze, expand).
VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512]
ALEX = [(64, 3, 11, 4, 2), "R", "M", (192, 64, 5, 1, 2), "R", "M", (384, 192, 3, 1, 1), "R"]
ALEX += [(256, 384, 3, 1, 1), "R", (256, 256, 3, 1, 1), "R"]
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
FIRES |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}


def images(side=48, count=2):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    reference = F.interpolate(coarse, (side, side + 3), mode="bilinear")
    noise = torch.rand(reference.shape, generator=generator)
    return reference, 0.7 * reference + 0.3 * noise


def convolution(state, key, out, into, kernel):
    fan = into * kernel * kernel
    state[f"{key}.weight"] = torch.randn(out, into, kernel, kernel) * (2 / fan) ** 0.5
    state[f"{key}.bias"] = 0.1 * torch.randn(out)


def torchvision_state(name):
    """Random weights under torchvision's names, a classifier's part among them."""
    torch.manual_seed(1)
    state = {"classifier.1.weight": torch.zeros(1)}
    if name == "vgg":
        index, before = 0, 3
        for entry in VGG:
            if entry == "M":
                index += 1
                continue
            convolution(state, f"features.{index}", entry, before, 3)
            index, before = index + 2, entry
    elif name == "alex":
        for index, entry in enumerate(ALEX):
            if isinstance(entry, tuple):
                convolution(state, f"features.{index}", entry[0], entry[1], entry[2])
    else:
        convolution(state, "features.0", 64, 3, 3)
        for index, (into, squeeze, expand) in FIRES.items():
            convolution(state, f"features.{index}.squeeze", squeeze, into, 1)
            convolution(state, f"features.{index}.expand1x1", expand, squeeze, 1)
            convolution(state, f"features.{index}.expand3x3", expand, squeeze, 3)
    return state


def heads_state(name):
    torch.manual_seed(2)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(TAPS[name].values())
    }


@pytest.fixture(params=["alex", "vgg", "squeeze"])
def name(request):
    return request.param


@pytest.fixture
def folder(tmp_path, name):
    torch.save(torchvision_state(name), tmp_path / FILES[name].names[0])
    torch.save(heads_state(name), tmp_path / f"{name}.pth")
    return tmp_path


def twin_features(name, pixels):
    """The trunk layer by layer, by name, in plain functions."""
    state, found, x = torchvision_state(name), [], pixels

    def conv(x, key, **options):
        return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], **options)

    for index in range(max(TAPS[name]) + 1):
        if name == "squeeze" and index in FIRES:
            s = conv(x, f"features.{index}.squeeze").relu()
            wide = conv(s, f"features.{index}.expand3x3", padding=1).relu()
            x = torch.cat((conv(s, f"features.{index}.expand1x1").relu(), wide), 1)
        elif f"features.{index}.weight" in state:
            stride = {"alex": 4 if index == 0 else 1, "vgg": 1, "squeeze": 2}[name]
            padding = {"vgg": 1, "squeeze": 0, "alex": {0: 2, 3: 2}.get(index, 1)}[name]
            x = conv(x, f"features.{index}", stride=stride, padding=padding)
        elif f"features.{index - 1}.weight" in state:
            x = x.relu()
        elif name == "vgg":
            x = F.max_pool2d(x, 2)
        else:
            x = F.max_pool2d(x, 3, 2, ceil_mode=name == "squeeze")
        if index in TAPS[name]:
            found.append(x)
    return found


def twin_lpips(name, reference, candidate):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    total = 0
    heads = heads_state(name)
    pairs = zip(
        twin_features(name, (reference - mean) / std),
        twin_features(name, (candidate - mean) / std),
        strict=True,
    )
    for index, (a, b) in enumerate(pairs):
        a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in (a, b))
        total = total + F.conv2d((a - b) ** 2, heads[f"lin{index}.model.1.weight"]).mean((1, 2, 3))
    return total


def test_lpips_agrees_with_its_twin_on_the_published_layouts(name, folder):
    reference, candidate = images()
    expected = twin_lpips(name, reference, candidate)
    assert (expected > 0.01).all()
    metric = LPIPS(name, folder)
    torch.testing.assert_close(metric(reference, candidate), expected, rtol=1e-4, atol=1e-6)
    kept = metric.features(reference)
    torch.testing.assert_close(metric.from_features(kept, candidate), expected, rtol=1e-4, atol=0)


def test_lpips_reads_the_state_dict_of_the_lpips_packages_module(name, tmp_path):
    whole = heads_state(name)
    whole |= {key.replace("lin", "lins.", 1): value for key, value in heads_state(name).items()}
    cuts = sorted(TAPS[name])
    for key, value in torchvision_state(name).items():
        part, index, rest = key.split(".", 2)
        if part == "features":
            piece = 1 + next(i for i, cut in enumerate(cuts) if int(index) <= cut)
            whole[f"net.slice{piece}.{index}.{rest}"] = value
    torch.save(whole, tmp_path / "whole.pth")
    reference, candidate = images(count=1)
    found = LPIPS(name, tmp_path / "whole.pth")(reference, candidate)
    expected = twin_lpips(name, reference, candidate)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_lpips_says_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"lpips-alex: needs lpips-alex.pth .* Fetch https://"):
        LPIPS("alex", tmp_path)
    torch.save(heads_state("vgg"), tmp_path / "alex.pth")
    with pytest.raises(ValueError, match=r"not the heads of lpips-alex: expected lin1\.model"):
        LPIPS("alex", tmp_path)
    torch.save(heads_state("alex"), tmp_path / "alex.pth")
    with pytest.raises(ValueError, match=r"lpips-alex: needs alexnet-owt-7be5be79\.pth"):
        LPIPS("alex", tmp_path)
    torch.save(torchvision_state("squeeze"), tmp_path / "alexnet-owt-7be5be79.pth")
    with pytest.raises(ValueError, match=r"not the weights wanted here: features\.0\.weight is of"):
        LPIPS("alex", tmp_path)


@pytest.fixture
def piq_perceptual(piq_module, monkeypatch):
    """piq's perceptual metrics, with a torchvision that holds nothing but our random VGG-16."""
    layers = nn.Sequential()
    for entry in VGG:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
            before = convs[-1].out_channels if convs else 3
            layers.append(nn.Conv2d(before, entry, 3, padding=1)).append(nn.ReLU())
    holder = nn.Module()
    holder.features = layers
    holder.load_state_dict(torchvision_state("vgg"), strict=False)
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.vgg16 = models.vgg19 = lambda **_: holder
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)

    def make(metric, weights):
        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: weights)
        return getattr(piq_module("perceptual"), metric)(reduction="none")

    return make


def test_lpips_vgg_agrees_with_piq(piq_perceptual, tmp_path):
    torch.save(torchvision_state("vgg"), tmp_path / FILES["vgg"].names[0])
    torch.save(heads_state("vgg"), tmp_path / "vgg.pth")
    reference, candidate = images()
    theirs = piq_perceptual("LPIPS", list(heads_state("vgg").values()))
    expected = theirs(candidate, reference)
    found = LPIPS("vgg", tmp_path)(reference, candidate)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_dists_agrees_with_piq(piq_perceptual, tmp_path):
    torch.manual_seed(3)
    weights = {"alpha": torch.rand(1, 1475, 1, 1), "beta": torch.rand(1, 1475, 1, 1)}
    total = weights["alpha"].sum() + weights["beta"].sum()
    # piq expects weights that sum to 1, as the published ones do; the authors divide by their sum.
    expected_metric = piq_perceptual("DISTS", {k: v / total for k, v in weights.items()})
    torch.save(torchvision_state("vgg"), tmp_path / FILES["vgg"].names[0])
    torch.save(weights, tmp_path / "weights.pt")
    reference, candidate = images()
    found = DISTS(tmp_path)(reference, candidate)
    torch.testing.assert_close(found, expected_metric(candidate, reference), rtol=1e-3, atol=1e-5)
    torch.save({"alpha": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="not the weights of DISTS: expected alpha"):
        DISTS(tmp_path)


def test_dists_reduces_large_images_first(monkeypatch):
    metric, shapes = DISTS("random"), []
    monkeypatch.setattr(metric.trunk, "forward", lambda x: shapes.append(tuple(x.shape)) or [])
    for size in ((100, 80), (256, 300), (512, 600)):
        metric.features(torch.rand(1, 3, *size))
    assert [shape[2:] for shape in shapes] == [(100, 80), (256, 300), (256, 300)]


@pytest.fixture(scope="module")
def pieapp_weights():
    """A network of the published shape whose biases are not 0."""
    torch.manual_seed(4)
    metric = PieAPP("random")
    for name, value in metric.named_parameters():
        if "score" in name or "weight" in name.split(".")[0]:
            value.uniform_(0.0, 0.02)
        elif value.ndim == 4:  # torch's own start would leave no signal after eleven layers
            torch.nn.init.kaiming_normal_(value, nonlinearity="relu")
    return metric.state_dict()


def test_pieapp_agrees_with_piq_less_its_value_at_identity(piq_module, monkeypatch, pieapp_weights):
    published = dict(pieapp_weights)
    published["ref_score_subtract.weight"] = published["ref_score_subtract.weight"].flatten()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: dict(published))
    theirs = piq_module("pieapp").PieAPP(reduction="none", enable_grad=True)
    monkeypatch.setattr("percert.metrics.deep.pieapp.read_weights", lambda _: dict(published))
    monkeypatch.setattr("percert.metrics.deep.pieapp.find_weights", lambda *_: None)
    ours = PieAPP()
    reference, candidate = (batch[..., :64, :] for batch in images(side=91, count=1))  # 2 patches
    candidate.requires_grad_()
    expected = theirs(candidate, reference) - theirs(reference, reference)
    (slope,) = torch.autograd.grad(expected.sum(), candidate)
    found = ours(reference, candidate)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), candidate)
    torch.testing.assert_close(gradient, slope, rtol=1e-3, atol=1e-4 * slope.abs().max().item())
    assert ours(reference, reference).item() == 0


@pytest.mark.parametrize(("checkpoint", "least"), [("random", True), ("untrained", False)])
def test_pieapp_untrained_is_a_score_with_a_sign(checkpoint, least):
    metric = PieAPP(checkpoint, stride=64)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    at = image.clone().requires_grad_(True)
    metric(image, at).sum().backward()
    assert (at.grad.norm() == 0) == least
    if not least:  # as far as it may go down its slope, it is below 0, where no distance is
        with torch.no_grad():
            assert metric(image, (image - 0.1 * at.grad / at.grad.abs().max()).clamp(0, 1)) < 0


def test_pieapp_reads_its_published_file(tmp_path, pieapp_weights):
    # Every tensor of one number, so that the file is small; its names and shapes are the real ones.
    state = {k: torch.full((1,), 0.01).expand(v.shape) for k, v in pieapp_weights.items()}
    state["ref_score_subtract.weight"] = torch.full((1,), 0.01)
    torch.save(state, tmp_path / PIEAPP_FILE.names[0])
    metric = PieAPP(tmp_path)
    assert all((value == 0.01).all() for value in metric.parameters())
    del state["fc2_weight.bias"]
    torch.save(state, tmp_path / PIEAPP_FILE.names[0])
    with pytest.raises(ValueError, match=r"not the weights of PieAPP: expected fc2_weight\.bias"):
        PieAPP(tmp_path)


def test_features_of_squeezenet_are_those_that_it_says_itself():
    metric = squeezenet_features("random")
    reference, candidate = images()
    network = metric.network
    assert isinstance(network, SqueezeNet)
    assert len(metric.layers) == len(FEATURE_LAYERS) == 7
    expected = 0
    for a, b in zip(network.layers(reference), network.layers(candidate), strict=True):
        cosine = torch.cosine_similarity(a.double(), b.double(), dim=1)
        seen = (a.square().sum(1) > 0).double() + (b.square().sum(1) > 0).double()
        expected = expected + (seen - 2 * cosine).mean((1, 2))
    found = metric(reference, candidate)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    kept = metric.features(reference)
    torch.testing.assert_close(metric.from_features(kept, candidate), found)


class Mixed(nn.Module):
    """Maps, tokens and vectors, one layer that runs twice, and an end that must not be reached."""

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(3, 4, 3)
        self.twice = nn.ReLU()
        self.token = nn.Linear(4, 5)
        self.vector = nn.Linear(5, 2)
        self.end = nn.Linear(2, 2)

    def forward(self, x):
        x = self.twice(self.map(x))
        x = self.token(x.flatten(2).mT)
        x = self.vector(self.twice(x).mean(1))
        return self.end(x)


def test_features_of_any_network_by_name():
    network = Mixed().requires_grad_(False)
    ends = []
    network.end.register_forward_hook(lambda *_: ends.append(1))
    metric = Features(network, ["vector", "twice", "token"])
    image = images(side=12)[0]
    vector, twice, token = metric.features(image)
    assert (vector.shape, twice.shape[1], token.shape[2]) == ((2, 2), 4, 5)
    assert ends == []
    torch.testing.assert_close(twice, network.map(image).relu())
    assert len(network.map._forward_hooks) == len(network.twice._forward_hooks) == 0
    network(image)
    assert ends == [1]


def test_a_layer_that_is_not_there_or_gives_no_tensor_is_an_error():
    network = Mixed()
    with pytest.raises(ValueError, match="has no layer 'maps'; it has map, twice, token"):
        Features(network, ["maps"])
    with pytest.raises(ValueError, match="expected the names of layers, found none"):
        Features(network, [])
    network.unused = nn.ReLU()
    with pytest.raises(ValueError, match="the layer 'unused' did not run"):
        Features(network, ["unused"]).features(images(side=12)[0])
    with pytest.raises(ValueError, match="features: expected a safetensors file of SqueezeNet"):
        squeezenet_features("resnet")


def test_features_of_a_classifier_by_its_spec(tmp_path, monkeypatch):
    source = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 2, 3))\n"
    (tmp_path / "my_features_net.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = squeezenet_features("my_features_net:net@0")
    assert metric.layers == ("0",)
    assert metric(*images(side=12)).shape == (2,)


def test_parallel_features_are_at_zero_and_orthogonal_ones_at_two():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    b = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    assert feature_distance([a, a], [5 * a, b]).item() == pytest.approx(2.0)


def test_dead_positions_have_a_zero_gradient():
    dead = torch.zeros(1, 3, 2, 2, requires_grad=True)
    unit(dead).sum().backward()
    assert (dead.grad == 0).all()
