"""LipSim's recipe scaled to 64 px, by its authors' code and by its text, against ours.

python -m experiments triplets.lipsim_ablation --data ../shared/data \
    --weights ../shared/weights/squeezenet1_0-imagenet.safetensors --runs runs/ablation \
    --out docs/results --scales 1 3 30 100

Every arm is distilled and fine-tuned on the same images in the same order, with the same number of
image passes, and judged on photographs that none of them saw. Arms share a distillation where the
change comes later. A run that is killed goes on when the command is given again, and arms that are
done are only judged again: more of them, or more of the sweep, can be added to the same folder.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert.certify import twoafc
from percert.data.distortions import DISTORTIONS, distortion_triplet
from percert.data.labelled_images import read_labelled_images, semantic_triplets
from percert.images import Resize, find_images, load_image, save_image
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import load_exported, read_config
from percert.reports.table import Column, Table
from percert.training.distillation import DistillRecipe, distill, read_distill_recipe
from percert.training.engine import Devices, start_fabric
from percert.training.finetuning import FinetuneRecipe, finetune, read_finetune_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
#: l2: the paper's budgets, and larger ones. Of a tamper with the network's input of 64 px, and of
#: one with the photograph before it is brought to 64 px.
BUDGETS = (36 / 255, 72 / 255, 108 / 255, 1.0, 2.0, 4.0, 8.0)
SIDE = 64
#: The size of the held-out photographs.
OWN_SIDE = 299
#: In which order arms are run, for a run that is stopped early: the two ends first, then what they
#: differ in, the sweep, and at the end what is slowest.
FIRST, LAST = ("authors", "paper", "radius", "ours"), ("flip",)
#: What one line changes at once: where the targets point, how long they are, what is taught.
SCALED = "targets of norm 10, in principal directions, the jittered view taught too"
#: The first two lines: the authors' code, and what its text asks for.
AUTHORS = "the authors' code: RMSE of both views to the teacher, their jitter; else as `paper`"
PAPER = "SLL, norm 1, hinge 0.5, c = 1, Eq. 8; the distance to the teacher and of the two views"
#: The lines of the sweep, by how their names begin.
SWEPT = "s = "


@dataclass(frozen=True)
class Arm:
    """One line of the table: which distillation, then which fine-tuning, and how it is judged."""

    name: str
    change: str
    distillation: str
    first: DistillRecipe
    second: FinetuneRecipe
    radius: str = "ours"


@dataclass(frozen=True)
class Scores:
    """Of one set of triplets: shares answered rightly, and proven at each of the budgets."""

    triplets: int
    natural: float
    certified: list[float]


@dataclass(frozen=True)
class ArmResult:
    """One line."""

    name: str
    change: str
    radius: str
    distortions: Scores
    own_pixels: Scores
    semantic: Scores
    scale: float
    median_norm: float


@dataclass(frozen=True)
class AblationResult:
    """``passes`` are images through the student in one arm.

    Of an arm, ``distortions`` and ``semantic`` have budgets at ``side`` pixels, ``own_pixels`` the
    same triplets as ``distortions`` with budgets in the photographs' own pixels.
    """

    benchmark: str
    side: int
    budgets: list[float]
    photographs: int
    steps: int
    passes: int
    held_out: int
    arms: list[ArmResult]
    conditions: Conditions


def arms(steps: int, scales: Sequence[float] = ()) -> list[Arm]:
    """The authors' recipe; the text's, then one change after another, to ours at ``scales``, too.

    Flip concatenation stands aside: ours needs none, its orthogonal layers are blind to left and
    right, so that a copy with both views would have the same distances at twice the cost.
    """
    theirs = read_distill_recipe(RECIPES / "lipsim-64-authors-distill.toml")
    then = read_finetune_recipe(RECIPES / "lipsim-64-authors-finetune.toml")
    first = read_distill_recipe(RECIPES / "lipsim-64-paper-distill.toml")
    second = read_finetune_recipe(RECIPES / "lipsim-64-paper-finetune.toml")
    ours = read_distill_recipe(RECIPES / "lipsim-64-ours-distill.toml")
    last = read_finetune_recipe(RECIPES / "lipsim-64-ours-finetune.toml")
    theirs, first, ours = (
        replace(r, schedule=replace(r.schedule, steps=steps)) for r in (theirs, first, ours)
    )
    then, second, last = (
        replace(r, schedule=replace(r.schedule, steps=steps)) for r in (then, second, last)
    )
    raw = replace(last, schedule=replace(last.schedule, average=0.0))
    plain = replace(ours, schedule=replace(ours.schedule, average=0.0))
    scaled = replace(
        first, teacher=ours.teacher, losses=replace(ours.losses, relational=0.0)
    )  # the layers are the authors' still
    flipped = replace(scaled, student=replace(scaled.student, flip_concat=True))
    orthogonal = replace(scaled, student=ours.student)
    return [
        Arm("authors", AUTHORS, "code", theirs, then, "paper"),
        Arm("paper", PAPER, "paper", first, second, "paper"),
        Arm("radius", "the exact radius of the same network", "paper", first, second),
        Arm("loss", "raw-margin loss", "paper", first, raw),
        Arm("scale", SCALED, "scale", scaled, raw),
        Arm("flip", "aside: `scale` with flip concatenation", "flip", flipped, raw),
        Arm("layer", "orthogonal layers, c = 0", "layer", orthogonal, raw),
        Arm("relational", "relational loss", "relational", plain, raw),
        Arm("ours", "averaged weights, in both stages", "ours", ours, last),
        *(
            Arm(
                f"{SWEPT}{s:g}",
                f"ours with targets of norm {s:g}",
                f"scale-{s:g}",
                replace(ours, teacher=replace(ours.teacher, scale=s)),
                last,
            )
            for s in scales
        ),
    ]


def prepare(data: Path, weights: Path, runs: Path, limit: int) -> Path:
    """The recipes' data folder: photographs at 128 px, labelled images and the teacher, once."""
    folder = runs / "data"
    photographs = folder / "photographs"
    done = folder / f"{limit}-photographs.txt"
    if not done.exists():
        photographs.mkdir(parents=True, exist_ok=True)
        resize = Resize((2 * SIDE, 2 * SIDE), "box")
        for path in find_images(data / "imagenet-samples")[:limit]:
            save_image(resize(load_image(path)[None])[0], photographs / f"{path.stem}.png")
        for name, target in (
            ("tiny-imagenet-32", data / "tiny-imagenet-32"),
            ("squeezenet1_0-imagenet.safetensors", weights),
        ):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(target.resolve())
        done.touch()
    if (found := sum(1 for _ in photographs.iterdir())) > limit:
        raise ValueError(f"{folder}: holds {found} photographs, not {limit}; give other --runs")
    return folder


def distortion_set(data: Path, photographs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out photographs under every distortion, brought to 64 px: reference, milder, other."""
    resize = Resize((SIDE, SIDE), "box")
    columns: tuple[list[Tensor], ...] = ([], [], [])
    for index, photo in enumerate(compatible(data, photographs)):
        if photo.size != (OWN_SIDE, OWN_SIDE):
            raise ValueError(f"photograph {index}: expected {OWN_SIDE} px, found {photo.size}")
        for distortion in DISTORTIONS:
            made = distortion_triplet(photo, distortion, seed, index)
            for column, image in zip(
                columns, (made.reference, made.milder, made.stronger), strict=True
            ):
                column.append(resize(as_tensor([image])))
    reference, milder, stronger = (torch.cat(column) for column in columns)
    return reference, milder, stronger


def semantic_set(data: Path, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Validation images of Tiny ImageNet, enlarged to 64 px: reference, same class, other class."""
    images = read_labelled_images(data / "tiny-imagenet-32" / "val.parquet")
    resize = Resize((SIDE, SIDE), "bicubic")
    indices = semantic_triplets(images.labels, count, seed)
    reference, same, other = (resize(images.decode(i)).clamp(0, 1) for i in indices.T)
    return reference, same, other


def answers(
    metric: EmbeddingMetric, triplets: Sequence[Tensor], radius: str
) -> tuple[Tensor, Tensor]:
    """Which answers are right, and up to where each is proven, with the reference moving.

    The left image is always the right answer, a tie an error.
    """
    correct, radii = [], []
    with torch.inference_mode():
        for part in zip(*(torch.split(column, 64) for column in triplets), strict=True):
            found = twoafc(metric, *part)
            correct.append((found.decision == 0) & (found.radius > 0))
            chosen = found.radius if radius == "ours" else found.radius_paper.nan_to_num(0.0)
            radii.append(chosen)
    return torch.cat(correct), torch.cat(radii)


def score(right: Tensor, reach: Tensor, norm: float = 1.0) -> Scores:
    """The shares of :func:`answers`.

    ``norm`` is that of the linear map from the pixels that are tampered with to the triplets': a
    tamper of l2 = eps there is one of norm x eps here.
    """
    certified = [float((right & (reach > norm * eps)).double().mean()) for eps in BUDGETS]
    return Scores(len(right), float(right.double().mean()), certified)


def run_arm(arm: Arm, folder: Path, runs: Path, sets: Sequence[Sequence[Tensor]]) -> ArmResult:
    second = f"{arm.distillation}-{arm.second.name}-{arm.second.schedule.average:g}"
    model, tuned = runs / arm.distillation, runs / second
    fabric = start_fabric(Devices("cpu"))
    if not (model / "config.json").exists():
        # One cache of the teacher for all arms.
        teacher = replace(arm.first.teacher, cache="../teacher-cache")
        distill(replace(arm.first, teacher=teacher), folder, model, fabric, tensorboard=False)
    _check_done(model, arm.first.schedule.steps)
    if not (tuned / "config.json").exists():
        finetune(arm.second, folder, tuned, fabric, model=model, tensorboard=False)
    _check_done(tuned, arm.second.schedule.steps)
    metric = load_exported(tuned)
    distorted, classes = (answers(metric, triplets, arm.radius) for triplets in sets)
    shrink = Resize((SIDE, SIDE), "box").norm((OWN_SIDE, OWN_SIDE))
    with torch.inference_mode():
        norm = metric.embed(sets[0][0][:256]).norm(dim=1).median().item()
    return ArmResult(
        arm.name,
        arm.change,
        arm.radius,
        distortions=score(*distorted),
        own_pixels=score(*distorted, shrink),
        semantic=score(*classes),
        scale=arm.first.teacher.scale,
        median_norm=norm,
    )


def _check_done(folder: Path, steps: int) -> None:
    """An arm that is done is taken as it is: was it this one?"""
    found = read_config(folder).trained["steps"]
    if found != steps:
        raise ValueError(f"{folder}: was trained for {found} steps, not {steps}; give other --runs")


def table(result: AblationResult) -> str:
    """The results as a page in Markdown."""
    lines = [
        "# The authors' recipe scaled to 64 px, and ours",
        "",
        f"Measured by `python -m experiments triplets.lipsim_ablation` at a **small scale**: "
        f"{result.photographs} photographs, {result.steps} steps of each stage, {result.passes:,} "
        "images through the network in each arm, networks of a few layers, one CPU thread on a "
        "machine that was busy with other work. It says nothing about the full "
        "recipe. Teacher: SqueezeNet 1.0. Every arm sees the same images in "
        "the same order, equally often. "
        f"Judged on {result.held_out} held-out photographs under {len(DISTORTIONS)} distortions "
        "and on classes of Tiny ImageNet's validation images; budgets are l2 in pixels at "
        f"{result.side} px, the reference moves. `authors` and `paper` are judged by the paper's "
        f"radius (Eq. 8), the others by the exact one. {_order(result)}",
        "",
    ]
    kinds: tuple[tuple[str, Callable[[ArmResult], Scores]], ...] = (
        ("Distortions", lambda arm: arm.distortions),
        ("Distortions, budgets in the photographs' own pixels", lambda arm: arm.own_pixels),
        ("Classes", lambda arm: arm.semantic),
    )
    named: list[Column[ArmResult]] = [
        Column("arm", lambda arm: arm.name),
        Column("change", lambda arm: arm.change),
    ]
    norm: Column[ArmResult] = Column("s", lambda arm: arm.scale, "g")
    swept = sweep(result)
    for title, of in kinds:
        count = of(result.arms[0]).triplets if result.arms else 0
        scores = _scores(of, result.budgets)
        own = [arm for arm in result.arms if not arm.name.startswith(SWEPT)]
        lines += [
            f"## {title} ({count} triplets)",
            "",
            Table.of(own, [*named, *scores]).markdown(),
        ]
        if len(swept) > 1:
            lines += [
                "Ours with targets of norm s:",
                "",
                Table.of(swept, [norm, *scores]).markdown(),
            ]
    where = result.conditions
    lines.append(f"Conditions: {json.dumps(asdict(where))}")
    return "\n".join(lines) + "\n"


def sweep(result: AblationResult) -> list[ArmResult]:
    """Ours at every s that was run, by s; ours itself among them."""
    found = (arm for arm in result.arms if arm.name == "ours" or arm.name.startswith(SWEPT))
    return sorted(found, key=lambda arm: arm.scale)


def _scores(of: Callable[[ArmResult], Scores], budgets: Sequence[float]) -> list[Column[ArmResult]]:
    """Scores in percent, natural and certified, and the length of embeddings."""

    def certified(eps: float) -> Callable[[ArmResult], float]:
        return lambda arm: 100 * of(arm).certified[budgets.index(eps)]

    def name(eps: float) -> str:
        return f"{eps * 255:.0f}/255" if eps < 1 else f"{eps:g}"

    return [
        Column("natural", lambda arm: 100 * of(arm).natural, ".1f"),
        *(Column(name(eps), certified(eps), ".1f") for eps in budgets),
        Column("median norm", lambda arm: arm.median_norm, ".2f"),
    ]


def _order(result: AblationResult) -> str:
    """What a line has beside the one above it; and which arms are still to be run."""
    every = arms(result.steps)
    missing = [arm for arm in every if arm.name not in {found.name for found in result.arms}]
    said = (
        "From `radius` on each line has the change that it names and those of the lines above up "
        "to `paper`, but `flip`, which is `scale` with one change more, and is left out again "
        "below it."
    )
    if missing:
        named = "; ".join(f"`{arm.name}` ({arm.change})" for arm in missing)
        said += f" **Not run yet**: {named}. What each of these gives by itself is not known."
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.0's")
    parser.add_argument("--runs", type=Path, required=True, help="where runs go, and go on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120, help="of each stage")
    parser.add_argument("--photographs", type=int, default=400, help="to train on")
    parser.add_argument("--held-out", type=int, default=40, help="photographs to judge on")
    parser.add_argument("--semantic", type=int, default=400, help="triplets of classes")
    parser.add_argument("--scales", nargs="*", type=float, default=(), help="a sweep of s as well")
    parser.add_argument("--only", nargs="*", help="arms by name; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    every = arms(options.steps, options.scales)
    chosen = [arm for arm in every if not options.only or arm.name in options.only]
    folder = prepare(options.data, options.weights, options.runs, options.photographs)
    sets = (
        distortion_set(options.data, options.held_out, 0),
        semantic_set(options.data, options.semantic, 0),
    )
    places = [arm.name for arm in chosen]
    results: list[ArmResult] = []
    for arm in sorted(chosen, key=lambda arm: (arm.name not in FIRST, arm.name in LAST)):
        done = run_arm(arm, folder, options.runs, sets)
        results = sorted([*results, done], key=lambda found: places.index(found.name))
        batch, triplets = arm.first.schedule.batch, arm.second.schedule.batch
        result = AblationResult(
            "lipsim-ablation",
            SIDE,
            list(BUDGETS),
            options.photographs,
            options.steps,
            options.steps * (2 * batch + 3 * triplets),
            options.held_out,
            results,
            conditions(0),
        )
        # After every arm: what is done counts, whenever the rest is stopped.
        write_result(options.out / "lipsim-ablation.json", result)
        (options.out / "lipsim-ablation.md").write_text(table(result), encoding="utf-8")
        found = done.distortions
        print(f"{arm.name}: natural {found.natural:.3f}, certified {found.certified}", flush=True)


if __name__ == "__main__":
    main()
