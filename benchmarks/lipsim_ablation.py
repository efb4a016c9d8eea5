"""The authors' LipSim recipe scaled to 64 px against ours, and what each change gives.

python -m benchmarks.lipsim_ablation --data ../shared/data \
    --weights ../shared/weights/squeezenet1_0-imagenet.safetensors --runs runs/ablation \
    --out docs/results

Every arm is distilled and fine-tuned on the same images in the same order, with the same number of
image passes, and judged on photographs that none of them saw. Arms share a distillation where the
change comes later. A run that is killed goes on when the command is given again.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.conditions import Conditions, conditions, write_result
from benchmarks.photographs import DEFAULT_DATA, as_tensor, compatible
from percert.certify import twoafc
from percert.data.distortions import DISTORTIONS, distortion_triplet
from percert.data.labelled_images import read_labelled_images, semantic_triplets
from percert.images import Resize, find_images, load_image, save_image
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.exported import load_exported
from percert.training.distillation import DistillRecipe, distill, read_distill_recipe
from percert.training.engine import Devices, start_fabric
from percert.training.finetuning import FinetuneRecipe, finetune, read_finetune_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
#: l2 at 64 px: the paper's budgets, and larger ones.
BUDGETS = (36 / 255, 72 / 255, 108 / 255, 1.0, 2.0, 4.0, 8.0)
SIDE = 64
#: In which order arms are run: the two ends first, for a run that is stopped early.
FIRST = ("authors", "radius", "ours")


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
    name: str
    change: str
    radius: str
    distortions: Scores
    semantic: Scores
    median_norm: float
    seconds: float


@dataclass(frozen=True)
class AblationResult:
    """``passes`` are images through the student in one arm, ``seconds`` those of this machine."""

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
    """The authors' recipe, then one change after another, to ours; ours at other ``scales``."""
    first = read_distill_recipe(RECIPES / "lipsim-64-authors-distill.toml")
    second = read_finetune_recipe(RECIPES / "lipsim-64-authors-finetune.toml")
    ours = read_distill_recipe(RECIPES / "lipsim-64-ours-distill.toml")
    last = read_finetune_recipe(RECIPES / "lipsim-64-ours-finetune.toml")
    first, ours = (replace(r, schedule=replace(r.schedule, steps=steps)) for r in (first, ours))
    second, last = (replace(r, schedule=replace(r.schedule, steps=steps)) for r in (second, last))
    raw = replace(last, schedule=replace(last.schedule, average=0.0))
    scaled = replace(
        first, teacher=ours.teacher, losses=replace(ours.losses, relational=0.0)
    )  # the layers are the authors' still
    orthogonal = replace(scaled, student=ours.student)
    return [
        Arm("authors", "SLL, norm 1, hinge 0.5, c = 1, Eq. 8", "authors", first, second, "paper"),
        Arm("radius", "the exact radius of the same network", "authors", first, second),
        Arm("loss", "raw-margin loss", "authors", first, raw),
        Arm("scale", "targets of norm 10, principal directions", "scale", scaled, raw),
        Arm("layer", "orthogonal layers, c = 0", "layer", orthogonal, raw),
        Arm("relational", "relational loss", "ours", ours, raw),
        Arm("ours", "averaged weights", "ours", ours, last),
        *(
            Arm(
                f"s = {s:g}",
                f"ours with targets of norm {s:g}",
                f"scale-{s:g}",
                scaled_to(ours, s),
                last,
            )
            for s in scales
        ),
    ]


def scaled_to(recipe: DistillRecipe, scale: float) -> DistillRecipe:
    """The same recipe with targets of another norm."""
    return replace(recipe, teacher=replace(recipe.teacher, scale=scale))


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
    return folder


def distortion_set(data: Path, photographs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out photographs under every distortion, brought to 64 px: reference, milder, other."""
    resize = Resize((SIDE, SIDE), "box")
    columns: tuple[list[Tensor], ...] = ([], [], [])
    for index, photo in enumerate(compatible(data, photographs)):
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


def score(metric: EmbeddingMetric, triplets: Sequence[Tensor], radius: str) -> Scores:
    """With the reference moving; the left image is always the right answer, a tie an error."""
    correct, radii = [], []
    with torch.inference_mode():
        for part in zip(*(column.split(64) for column in triplets), strict=True):
            found = twoafc(metric, *part)
            correct.append((found.decision == 0) & (found.radius > 0))
            chosen = found.radius if radius == "ours" else found.radius_paper.nan_to_num(0.0)
            radii.append(chosen)
    right, reach = torch.cat(correct), torch.cat(radii)
    certified = [float((right & (reach > eps)).double().mean()) for eps in BUDGETS]
    return Scores(len(right), float(right.double().mean()), certified)


def run_arm(arm: Arm, folder: Path, runs: Path, sets: Sequence[Sequence[Tensor]]) -> ArmResult:
    started = time.perf_counter()
    second = f"{arm.distillation}-{arm.second.name}-{arm.second.schedule.average:g}"
    model, tuned = runs / arm.distillation, runs / second
    fabric = start_fabric(Devices("cpu"))
    if not (model / "config.json").exists():
        # One cache of the teacher for all arms.
        teacher = replace(arm.first.teacher, cache="../teacher-cache")
        distill(replace(arm.first, teacher=teacher), folder, model, fabric, tensorboard=False)
    if not (tuned / "config.json").exists():
        finetune(arm.second, folder, tuned, fabric, model=model, tensorboard=False)
    metric = load_exported(tuned)
    scores = [score(metric, triplets, arm.radius) for triplets in sets]
    with torch.inference_mode():
        norm = metric.embed(sets[0][0][:256]).norm(dim=1).median().item()
    return ArmResult(arm.name, arm.change, arm.radius, *scores, norm, time.perf_counter() - started)


def table(result: AblationResult) -> str:
    """The results as a page in Markdown."""
    eps = [f"{b * 255:.0f}/255" if b < 1 else f"{b:g}" for b in result.budgets]
    lines = [
        "# The authors' recipe scaled to 64 px, and ours",
        "",
        f"Measured by `python -m benchmarks.lipsim_ablation` at a **small scale**: "
        f"{result.photographs} photographs, {result.steps} steps of each stage, {result.passes:,} "
        "images through the network in each arm, networks of a few layers, one CPU thread on a "
        "machine that was busy with other work. It says nothing about the full "
        "recipe. Teacher: SqueezeNet 1.0. Every arm sees the same images in "
        "the same order, equally often. "
        f"Judged on {result.held_out} held-out photographs under {len(DISTORTIONS)} distortions "
        "and on classes of Tiny ImageNet's validation images; budgets are l2 in pixels at "
        f"{result.side} px, the reference moves. `authors` is judged by the paper's radius "
        f"(Eq. 8), the others by the exact one. {_order(result)}",
        "",
    ]
    kinds: tuple[tuple[str, Callable[[ArmResult], Scores]], ...] = (
        ("Distortions", lambda arm: arm.distortions),
        ("Classes", lambda arm: arm.semantic),
    )
    for title, of in kinds:
        count = of(result.arms[0]).triplets if result.arms else 0
        lines += [f"## {title} ({count} triplets)", ""]
        lines.append(f"| arm | change | natural | {' | '.join(eps)} | median norm |")
        lines.append("| --- | --- " + "| ---: " * (len(eps) + 2) + "|")
        for arm in result.arms:
            found = of(arm)
            cells = " | ".join(f"{100 * value:.1f}" for value in found.certified)
            lines.append(
                f"| {arm.name} | {arm.change} | {100 * found.natural:.1f} | {cells} | "
                f"{arm.median_norm:.2f} |"
            )
        lines.append("")
    where = result.conditions
    lines.append(f"Conditions: {json.dumps(asdict(where))}")
    return "\n".join(lines) + "\n"


def _order(result: AblationResult) -> str:
    """What a line has beside the one above it; and which arms are still to be run."""
    every = arms(result.steps)
    missing = [arm for arm in every if arm.name not in {found.name for found in result.arms}]
    if not missing:
        return "Each line adds one change to the line above."
    named = "; ".join(f"`{arm.name}` ({arm.change})" for arm in missing)
    return (
        "Every arm has the changes of all arms before it, in the order authors, radius, loss, "
        f"scale, layer, relational, ours. **Not run yet**: {named}. What each of these gives by "
        "itself is therefore not known."
    )


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
    for arm in sorted(chosen, key=lambda arm: arm.name not in FIRST):
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
