"""What LipSim's first step takes at full scale: counted and timed by the image, then multiplied.

    python -m experiments speed.distillation --data ../shared/data --out docs/results

Counts the floating-point operations, seconds of one core and bytes of one image through the student
of a recipe, both views, with its gradient, and through a teacher of DreamSim's shape (a ViT-B/16
and two ViT-B/32 with random weights), and multiplies them by what the recipe asks for. A GPU is
taken to do ``--tflops`` in float32; none was asked.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA
from percert.files import write_whole
from percert.images import Resize, find_images, load_image
from percert.reports.table import Column, Table
from percert.training.distillation import DistillRecipe, read_distill_recipe, rmse
from percert.training.student import new_student

RECIPE = Path(__file__).parents[2] / "recipes" / "lipsim-paper-distill.toml"
#: ImageNet's training set: images, and gigabytes of its archive (as image-net.org states it).
IMAGENET, ARCHIVE = 1_281_167, 138
#: The patches of DreamSim's networks, each a ViT-B, and how long its embeddings are together.
TEACHER, WIDTH = (16, 32, 32), 1792


@dataclass(frozen=True)
class Pass:
    """Of one image: operations in a batch of the recipe's, in the one that was timed, and seconds
    of one core at the median. What is done to the weights is shared by a batch.
    """

    flop: float
    timed_flop: float
    seconds: float

    @property
    def whole_seconds(self) -> float:
        """Seconds in a batch of the recipe's, at as many operations a second."""
        return self.seconds * self.flop / self.timed_flop


@dataclass(frozen=True)
class DistillationCost:
    """``student`` is of both views of an image, with the gradient. Bytes: of the student's weights
    with gradient and Adam's moments, and of what both views keep for the gradient.
    """

    benchmark: str
    recipe: str
    images: int
    steps: int
    batch: int
    devices: int
    tflops: float
    student: Pass
    teacher: Pass
    reading_seconds: float
    weight_bytes: int
    activation_bytes: int
    conditions: Conditions

    @property
    def passes(self) -> int:
        """Images through the student, in both views."""
        return self.steps * self.batch * self.devices

    @property
    def taught(self) -> int:
        """Images through the teacher: each as it is and mirrored, once."""
        return min(2 * self.images, self.passes)


def count_flop(run: Callable[[], object]) -> float:
    """Floating-point operations of ``run``: products and sums of its matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def timed(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the processor at the median, after one that does not count."""
    run()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


def saved_bytes(run: Callable[[], object], but: nn.Module) -> int:
    """What ``run`` keeps for a gradient beside the parameters of ``but``."""
    own = {one.untyped_storage().data_ptr() for one in but.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = run()  # what is freed could lend its address to another
    del alive
    return sum(kept.values())


def student_pass(recipe: DistillRecipe, batch: int, repeats: int) -> tuple[Pass, int, int]:
    """One image in both views, with the gradient; the student's parameters, bytes it keeps."""
    student = new_student(recipe.student, recipe.name, recipe.seed).train()

    def forward(count: int) -> Tensor:
        device, side = next(student.parameters()).device, recipe.data.side
        here, there = student(torch.rand(2 * count, 3, side, side, device=device)).chunk(2)
        asked = torch.rand(count, WIDTH, device=device)
        width = min(WIDTH, here.shape[1])
        return rmse(here[:, :width], asked[:, :width]) + rmse(here, there)

    def step(count: int) -> None:
        student.zero_grad(set_to_none=True)
        forward(count).backward()  # type: ignore[no-untyped-call]  # torch has no types for it

    parameters = sum(one.numel() for one in student.parameters())
    kept = saved_bytes(lambda: forward(batch), student) // batch
    seconds = timed(lambda: step(batch), repeats) / batch
    student.to("meta")  # where nothing is computed, and all is counted
    whole, part = (
        count_flop(partial(step, count)) / count for count in (recipe.schedule.batch, batch)
    )
    return Pass(whole, part, seconds), parameters, kept


class TransformerLayer(nn.Module):
    """One layer of a vision transformer (Dosovitskiy and others, ICLR 2021), for its cost alone."""

    def __init__(self, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.mixed(self.before(x)).chunk(3, 2)
        )
        weights = (queries @ keys.mT / queries.shape[-1] ** 0.5).softmax(3)
        x = x + self.joined((weights @ values).transpose(1, 2).flatten(2))
        changed: Tensor = x + self.inner(self.between(x))
        return changed


class ViT(nn.Module):
    """A ViT-B of that patch: twelve layers of 768 values."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, patch, patch)
        self.blocks = nn.Sequential(*(TransformerLayer() for _ in range(12)))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).mT
        # One place more, whose output is the embedding.
        embedding: Tensor = self.blocks(torch.cat((patches.mean(1, keepdim=True), patches), 1))[
            :, 0
        ]
        return embedding


def teacher_pass(side: int, batch: int, repeats: int) -> Pass:
    """One image through networks of DreamSim's shape."""
    networks = [ViT(patch).eval() for patch in TEACHER]
    images = torch.rand(batch, 3, side, side)

    @torch.inference_mode()
    def run() -> None:
        for network in networks:
            network(images)

    flop = count_flop(run) / batch
    return Pass(flop, flop, timed(run, repeats) / batch)


def reading(paths: Sequence[Path], side: int) -> float:
    """Seconds of one core to decode a photograph and bring it to the network's size."""
    resize = Resize((side, side), "bicubic")
    began = time.process_time()
    for path in paths:
        resize(load_image(path)[None])
    return (time.process_time() - began) / len(paths)


def totals(cost: DistillationCost) -> list[tuple[str, str]]:
    """What the whole step takes, as (what, how much)."""
    student, teacher = cost.passes * cost.student.flop, cost.taught * cost.teacher.flop
    hours = (student + teacher) / (cost.tflops * 1e12) / 3600
    cores = cost.passes * cost.student.whole_seconds + cost.taught * cost.teacher.whole_seconds
    read = cost.passes * cost.reading_seconds / 3600
    memory = cost.weight_bytes + cost.batch * cost.activation_bytes
    cache = cost.taught * WIDTH * 2
    return [
        ("images through the student", f"{cost.passes / 1e6:.1f} million, in both views"),
        ("images through the teacher", f"{cost.taught / 1e6:.2f} million, then from its cache"),
        ("operations", f"{student:.1e} of the student, {teacher:.1e} of the teacher"),
        (f"hours of one GPU at {cost.tflops:g} TFLOP/s", f"{hours:.0f}"),
        (f"hours of {cost.devices} GPUs", f"{hours / cost.devices:.0f}"),
        ("one core of this machine instead", f"{cores / 86400:,.0f} days"),
        ("hours of one core to read and resize", f"{read:.0f}"),
        ("memory of a GPU, at most", f"{memory / 1e9:.1f} GB, the teacher's weights beside"),
        ("disk, the photographs", f"{ARCHIVE} GB"),
        ("disk, the teacher's cache", f"{cache / 1e9:.1f} GB in float16"),
        ("disk, a checkpoint", f"{cost.weight_bytes * 0.75 / 1e9:.2f} GB"),
    ]


def report(cost: DistillationCost) -> str:
    """The page."""
    one = [
        ("the student, both views, with the gradient", cost.student),
        ("a teacher of DreamSim's shape, forward", cost.teacher),
    ]
    measured: list[Column[tuple[str, Pass]]] = [
        Column("one image through", lambda row: row[0]),
        Column("GFLOP", lambda row: row[1].flop / 1e9, ".1f"),
        Column("seconds of one core", lambda row: row[1].whole_seconds, ".2f"),
    ]
    whole: list[Column[tuple[str, str]]] = [
        Column("the whole step", lambda row: row[0]),
        Column("takes", lambda row: row[1]),
    ]
    lines = [
        "# What LipSim's recipe takes",
        "",
        f"By `python -m experiments speed.distillation`, {cost.conditions.machine}, one thread: "
        f"`{cost.recipe}`, {cost.steps:,} steps of {cost.devices} x {cost.batch} images. "
        "Operations were counted by torch at that batch, memory and seconds measured on this CPU, "
        f"seconds in a small one, where an image takes {cost.student.timed_flop / 1e9:.0f} GFLOP, "
        "since what is done to the weights is shared by fewer. The teacher has DreamSim's networks "
        "(a ViT-B/16 and two ViT-B/32) with random weights.",
        "",
        Table.of(one, measured).markdown(),
        "The rest is arithmetic. **No GPU ran it**: its speed in float32 is assumed, a third of "
        "what an H100 has on paper. The photographs that were read have a short side of 256 px; "
        "ImageNet's own are larger.",
        "",
        Table.of(totals(cost), whole).markdown(),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--batch", type=int, default=2, help="images of a measured pass")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tflops", type=float, default=20.0, help="of a GPU, in float32")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = read_distill_recipe(options.recipe)
    teacher = teacher_pass(recipe.data.side, options.batch, options.repeats)
    student, parameters, kept = student_pass(recipe, options.batch, options.repeats)
    cost = DistillationCost(
        "distillation-cost",
        options.recipe.name,
        IMAGENET,
        recipe.schedule.steps,
        recipe.schedule.batch,
        options.devices,
        options.tflops,
        student,
        teacher,
        reading(find_images(options.data / "imagenet-samples")[:100], recipe.data.side),
        16 * parameters,
        kept,
        conditions(0),
    )
    write_result(options.out / "distillation-cost.json", cost)
    write_whole(options.out / "distillation-cost.md", report(cost))
    print(asdict(cost), report(cost), sep="\n")


if __name__ == "__main__":
    main()
