"""What a user of torchmetrics and of piq writes first works as typed, and types say what it is."""

import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

import percert
from percert import metrics
from percert.metrics import CIEDE2000, GMSD, LPIPS, MSSSIM, PSNR, SSIM, HaarPSI, LipSimTiny, Metric
from percert.metrics.cards import CATALOG

CLASSES = [name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name))]
METRICS = [name for name in CLASSES if issubclass(getattr(metrics, name), nn.Module)]


def test_the_first_lines_of_a_torchmetrics_user():
    preds, target = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)
    metric = SSIM()
    value = metric(preds, target)
    assert value.shape == (4,)
    assert metric(target, target).abs().max() == 0
    metric = SSIM().to("cpu").eval()
    mean = torch.cat([metric(p, t) for p, t in [(preds, target), (target, target)]]).mean()
    assert mean == pytest.approx(value.mean().item() / 2)
    assert PSNR()(target, target).isposinf().all()
    assert LPIPS("alex", checkpoint="random")(preds, target).shape == (4,)
    assert MSSSIM()(torch.rand(1, 3, 161, 161), torch.rand(1, 3, 161, 161)) > 0.5
    assert sum(p.numel() for p in metric.parameters()) == 0


def test_the_first_lines_of_a_piq_user(piq_module):
    x, y = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64).requires_grad_()
    loss = SSIM()(x, y).mean()
    loss.backward()
    assert y.grad.abs().sum() > 0
    index = metrics.ssim(x, y)
    theirs = piq_module("ssim").ssim(x, y.detach(), data_range=1.0, downsample=False)
    assert index.mean().item() == pytest.approx(theirs.item(), abs=1e-5)
    for name in ("haarpsi", "fsim"):
        similarity = getattr(metrics, name)(x, x)
        assert torch.equal(similarity, torch.ones(4))
        distance = {"haarpsi": HaarPSI, "fsim": metrics.FSIM}[name]()
        torch.testing.assert_close(getattr(metrics, name)(x, y), 1 - distance(x, y))
    assert torch.equal(metrics.gmsd(x, y), GMSD()(x, y))
    assert metrics.psnr(x, x).isposinf().all()
    assert CIEDE2000()(x, x).max() == 0


def test_a_range_that_is_another_is_said():
    with pytest.raises(
        ValueError, match=r"pixels must lie in \[0, 1\] \(divide 8-bit values by 255\)"
    ):
        SSIM()(torch.full((1, 3, 16, 16), 255.0), torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"found torch\.uint8"):
        SSIM()(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_module_with_a_docstring_that_shows_it(name):
    made = getattr(metrics, name)
    assert issubclass(made, nn.Module)
    assert (name == "PSNR") != issubclass(made, Metric)
    text = inspect.getdoc(made)
    assert "(n, 3, h, w)" in text
    assert ">>> " in text
    assert "[0, 1]" in text
    parameters = inspect.signature(made).parameters.values()
    assert all(p.annotation is not p.empty for p in parameters if p.kind is not p.VAR_KEYWORD)


def test_every_class_of_the_catalog_is_public():
    behind = {CATALOG.load(name) for name in CATALOG}
    classes = {made for made in behind if inspect.isclass(made)}
    assert classes <= {getattr(metrics, name) for name in METRICS}


def test_a_class_and_its_name_are_the_same_metric():
    reference, candidate = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    for made, name in ((SSIM(), "ssim"), (LipSimTiny(), "lipsim-tiny"), (metrics.Lp("l1"), "l1")):
        assert type(made) is type(metrics.create_metric(name, device="cpu"))
        found = metrics.create_metric(name, device="cpu")(reference, candidate)
        assert torch.equal(made(reference, candidate), found)


def test_percert_finds_its_metrics_lazily_and_soon():
    script = (
        "import sys, percert; assert 'torch' not in sys.modules; "
        "assert 'SSIM' in dir(percert.metrics); assert 'torch' not in sys.modules; "
        "percert.metrics.SSIM()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert percert.metrics is metrics
    timed = "import time, torch; t = time.process_time(); import percert, percert.metrics; "
    timed += "print(time.process_time() - t)"
    best = min(
        float(subprocess.check_output([sys.executable, "-c", timed], text=True)) for _ in range(3)
    )
    assert best < 0.2


def test_types_say_that_a_metric_is_a_module(tmp_path):
    """What a type checker sees: the module's methods, and a tensor from the call."""
    file = tmp_path / "typed.py"
    file.write_text(
        "import torch\n"
        "from percert.metrics import SSIM, LPIPS, create_metric\n"
        "x = torch.rand(1, 3, 16, 16)\n"
        "made = create_metric('ssim')\n"
        "y: torch.Tensor = made.to('cpu').eval()(x, x)\n"
        "n: int = sum(p.numel() for p in SSIM().parameters())\n"
        "LPIPS(net='vgg', checkpoint=None).double()(x, x).mean().backward()\n"
        "LPIPS(net='resnet')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line for line in errors if "typed.py:8" in line], done.stdout
    # torch leaves backward untyped.
    assert all("typed.py:8" in line or "no-untyped-call" in line for line in errors), done.stdout
