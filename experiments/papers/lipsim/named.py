"""What LipSim names and does not measure: robust metrics, an attack on similarity, inversion.

    python -m experiments papers.lipsim.named --data ../shared/data --work out/named \\
        --out docs/results

Metrics that are meant to be robust (ShiftTolerant-LPIPS, E-LPIPS, SWD) beside one that is proven to
be, on triplets of distorted photographs and under the attack of Luo et al. (CVPR 2022) as LipSim's
section 2 tells it: less like its own original, and more like the most dissimilar one in the batch.
Then images are made again from what a metric keeps of them (feature inversion, LipSim's outlook),
of photographs that come with percert. What was measured is kept in ``--work``.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.conditions import conditions, write_result
from experiments.papers.photographs import DEMO, FOLDER
from experiments.photographs import DEFAULT_DATA
from percert import certify
from percert.attacks import FlipTriplet, Verdict, judge, run_attack
from percert.data.triplets import distortion_triplets, load_triplet
from percert.evaluation.attack_runs.pages import as_picture
from percert.files import write_whole
from percert.images import load_image
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.deep.elpips import ELPIPS
from percert.metrics.full_reference.ssim import ssim
from percert.metrics.metric import Metric
from percert.reports.plots import Cell, picture_grid
from percert.reports.table import Column, Table, number
from percert.runs.items import resized
from percert.tensors import Images

METRICS = ("lipsim-tiny", "thumbnail", "ssim", "st-lpips-alex", "swd", "e-lpips")
#: It takes ten times as long as the network that it asks.
FEWER = {"e-lpips": 4}
#: R-LPIPS attacks 64 x 64 pixels in linf 8/255, which is as long as l2 3.48 at most.
SIDE = 64
BUDGETS = (("l2", 1.0), ("linf", 8 / 255))
DISTORTIONS = ("jpeg", "hue")
#: Another draw of E-LPIPS's transformations than the one attacked.
OTHER_SEED = 1
#: By what images are made again, and how: descent from grey, with Adam.
INVERTED = ("lipsim-tiny", "thumbnail-16", "st-lpips-alex", "efficientnet-lite0-pooled")
STEPS, RATE = 200, 0.02
PICTURES = ("cat", "coffee")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--work", type=Path, default=Path("out/named"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10, help="of each attack")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for name in METRICS:
        count = min(options.photographs, FEWER.get(name, options.photographs))
        make = partial(attacked, name, options.data, count, options.steps)
        work = options.work / f"attacked-{name}.json"
        rows.append(_kept(work, [count, options.steps], make))
    pictures = {name: _demo(DEMO / f"{name}.jpg") for name in PICTURES}
    made: dict[str, dict[str, Tensor]] = {}
    numbers: list[dict[str, Any]] = []
    for name in INVERTED:
        work = options.work / f"inverted-{name}.json"
        kept = _kept(work, [STEPS, RATE, SIDE], partial(_inverted_by, name, pictures))
        made[name] = {of: torch.tensor(values) for of, values in kept.items()}
        numbers += [regained(name, of, pictures[of], made[name][of]) for of in pictures]
    result = {
        "conditions": asdict(conditions(0)),
        "settings": {
            "photographs": options.photographs,
            "side": SIDE,
            "distortions": DISTORTIONS,
            "steps": options.steps,
            "attack": f"apgd:loss=margin,steps={options.steps}",
            "inversion": {"steps": STEPS, "rate": RATE},
        },
        "attacked": rows,
        "inverted": numbers,
    }
    write_result(options.out / "named-metrics.json", result)
    write_whole(options.out / "named-metrics.md", page(result).encode())
    write_whole(options.out / "inversion.png", grid(pictures, made))


def _kept(path: Path, asked: list[Any], make: Callable[[], Any]) -> Any:
    """What ``make`` gives, or gave in an earlier run that ``asked`` the same."""
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["asked"] == asked:
            return found["made"]
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"asked": asked, "made": made}).encode())
    print(f"{path.stem} done", flush=True)
    return made


def attacked(name: str, data: Path, photographs: int, steps: int) -> dict[str, Any]:
    """Scores of a metric on triplets as they are, and its images under attack at each budget."""
    metric = create_metric(name, device="cpu")
    reference, left, right, closer = triplets(data, photographs)
    with torch.no_grad():
        said = (metric(reference, right) < metric(reference, left)).long()
    originals = reference[:: len(DISTORTIONS)]
    far = originals[most_dissimilar(metric, originals)]
    found: dict[str, Any] = {
        "metric": name,
        "triplets": len(closer),
        "natural": (said == closer).double().mean().item(),
        "photographs": len(originals),
    }
    for norm, eps in BUDGETS:
        key = f"{norm} {eps:.3g}"
        ask = f"apgd:loss=margin,norm={norm},eps={eps},steps={steps}"
        judged = run_attack(metric, reference, FlipTriplet(left, right, closer), ask)
        right_still = (said == closer) & ~judged.verdict.success_8bit
        likened = liken(metric, originals, far, ask)
        found[f"2AFC {key}"] = right_still.double().mean().item()
        found[f"likened {key}"] = likened.success_8bit.double().mean().item()
        if isinstance(metric, EmbeddingMetric) and norm == "l2":
            radius = certify.twoafc(metric, originals, originals, far).radius
            found[f"proven {key}"] = (radius > eps).double().mean().item()
        if isinstance(metric, ELPIPS):
            other = ELPIPS(draws=len(metric.views), seed=OTHER_SEED)
            again = judge(other, originals, likened.images_8bit, _alike(originals, far))
            found[f"likened {key}, other draws"] = again.achieved_8bit.double().mean().item()
    return found


def triplets(data: Path, photographs: int) -> tuple[Images, Images, Images, Tensor]:
    """Reference, left and right ``(n, 3, SIDE, SIDE)``, and which is closer; by photograph."""
    some = list(distortion_triplets(data / FOLDER / "images", distortions=DISTORTIONS))
    some = some[: photographs * len(DISTORTIONS)]
    images = [[resized(side, (SIDE, SIDE)) for side in load_triplet(one)] for one in some]
    reference, left, right = (torch.stack(side) for side in zip(*images, strict=True))
    return reference, left, right, torch.tensor([int(one.share or 0) for one in some])


@torch.no_grad()
def most_dissimilar(metric: Metric, images: Images) -> Tensor:
    """For each image the place of the one that the metric finds the furthest from it, ``(n,)``."""
    return torch.stack([metric(one.expand_as(images), images).argmax() for one in images])


def liken(metric: Metric, originals: Images, far: Images, attack: str) -> Verdict:
    """Which images can be moved so that they are nearer to ``far`` than to what they were."""
    return run_attack(metric, originals, _alike(originals, far), attack).verdict


def _alike(originals: Images, far: Images) -> FlipTriplet:
    return FlipTriplet(originals, far, torch.zeros(len(originals), dtype=torch.long))


def _inverted_by(name: str, pictures: Mapping[str, Images]) -> dict[str, Any]:
    metric = create_metric(name, device="cpu")
    return {of: inverted(metric, image).tolist() for of, image in pictures.items()}


def _demo(path: Path) -> Images:
    """The middle of one of the demo's photographs, ``(1, 3, SIDE, SIDE)``."""
    image = load_image(path)
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[:, top : top + side, left : left + side], (SIDE, SIDE))[None]


def inverted(metric: Metric, image: Images) -> Images:
    """An image made from grey, of which the metric says as nearly as can be what it says of one."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    pixels = (0.5 + 0.01 * noise).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=RATE)
    for _ in range(STEPS):
        (pixels.grad,) = torch.autograd.grad(metric(image, pixels).sum(), pixels)
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach()


@torch.no_grad()
def regained(name: str, of: str, image: Images, found: Images) -> dict[str, Any]:
    """How near an image made again is to its original: by the metric itself, and to the eye."""
    metric = create_metric(name, device="cpu")
    grey = torch.full_like(image, 0.5)
    return {
        "metric": name,
        "of": of,
        "distance": metric(image, found).item(),
        "of_grey": metric(image, grey).item(),
        "ssim": ssim(image, found).item(),
        "rmse": (image - found).square().mean().sqrt().item(),
    }


def grid(pictures: Mapping[str, Images], made: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """Originals, and beside them what each metric regains of them."""
    columns = {"original": pictures, **made}
    return picture_grid(
        [
            Cell(title, tuple(as_picture(some[of][0]) for of in pictures))
            for title, some in columns.items()
        ],
        across=len(columns),
    )


def page(found: Mapping[str, Any]) -> str:
    """All of it as Markdown."""
    settings, rows = found["settings"], found["attacked"]
    keys = [f"{norm} {eps:.3g}" for norm, eps in BUDGETS]
    attacked: list[Column[Mapping[str, Any]]] = [
        Column("metric", itemgetter("metric")),
        Column("triplets", itemgetter("triplets"), "d"),
        Column("2AFC", itemgetter("natural"), _percent),
        *(Column(f"2AFC, {key}", _right(key), _percent) for key in keys),
        *(Column(f"likened, {key}", _likened(key), side="right") for key in keys),
    ]
    parts = [
        "# Metrics and attacks that LipSim names",
        "LipSim's section 2 names metrics that are meant to be robust, and an attack on "
        "similarity, and its conclusion a use, feature inversion; it measures none. Made by",
        "```console\n$ python -m experiments papers.lipsim.named --data DATA --photographs "
        f"{settings['photographs']} --steps {settings['steps']}\n```",
        "## Robust metrics under attack",
        ABOUT.format(SIDE, settings["attack"]),
        Table.of(rows, attacked).markdown().strip(),
        "## Feature inversion",
        f"From grey, {STEPS} steps of Adam towards the middle of a photograph that comes with "
        f"percert, at {SIDE} x {SIDE} pixels, by the metric alone: what is regained of the "
        "photograph is what the metric keeps of it. A thumbnail keeps what is coarse. Of "
        "`lipsim-tiny`, bound as it is, outlines can be made out, in blocks and in colours that "
        "are not the photograph's. ShiftTolerant-LPIPS keeps colours and textures; by the pooled "
        "features of a classifier without a bound, noise is as near.",
        "![Photographs, and what is regained of them](inversion.png)",
        Table.of(found["inverted"], REGAINED).markdown().strip(),
    ]
    return "\n\n".join(parts) + "\n"


ABOUT = """2AFC is the share of triplets (photographs at {0} x {0} pixels under JPEG and hue, of
which the less distorted is the closer) that a metric gets right, as they are and with the
reference moved by `{1}`. *Likened* is the share of the photographs, half as many, that the same
attack moves so far that the metric finds them nearer to the most dissimilar one of the batch than
to what they were (Luo et al. 2022, as LipSim tells it; R-LPIPS is trained against it). Where
something is proven, the share that no attack can turn is in brackets. E-LPIPS and SWD are over
ShiftTolerant-LPIPS's network, which was not trained for them; in brackets behind E-LPIPS is the
share that is likened under other draws of its transformations too. With so few triplets a share
is uncertain by 20 points and more. R-LPIPS's weights are not published."""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _right(key: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: float(row[f"2AFC {key}"])


def _likened(key: str) -> Callable[[Mapping[str, Any]], str]:
    def of(row: Mapping[str, Any]) -> str:
        said = _percent(row[f"likened {key}"])
        if f"proven {key}" in row:
            return f"{said} (proven never: {_percent(row[f'proven {key}'])})"
        other = f"likened {key}, other draws"
        return f"{said} (other draws: {_percent(row[other])})" if other in row else said

    return of


REGAINED: list[Column[Mapping[str, Any]]] = [
    Column("metric", itemgetter("metric")),
    Column("photograph", itemgetter("of"), side="right"),
    Column("grey", itemgetter("of_grey"), number),
    Column("regained", itemgetter("distance"), number),
    Column("SSIM", itemgetter("ssim"), number),
    Column("RMSE", itemgetter("rmse"), number),
]


if __name__ == "__main__":
    main()
