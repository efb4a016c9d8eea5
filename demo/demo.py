"""Compare real photographs with tampered copies of them and with each other, and draw the result.

`make demo` runs this. The photographs come with scikit-image; nothing is fetched. What it writes
lies in out/demo: the edited files, the two JSON answers, and demo.png.
"""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import SubFigure
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

OUT = Path("out/demo")
EPS = 4.0


def photograph(name: str) -> Image.Image:
    """One of the photographs in scikit-image's wheel, without importing scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo needs scikit-image: make demo installs it")
    return Image.open(Path(spec.origin).parent / "data" / name).convert("RGB")


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The image with a white caption on a black bar along its foot."""
    image = image.copy()
    height = image.height // 10
    box = (0, image.height - height, image.width, image.height)
    ImageDraw.Draw(image).rectangle(box, fill="black")
    font = ImageFont.load_default(size=0.7 * height)
    ImageDraw.Draw(image).text((height // 2, box[1]), text, fill="white", font=font)
    return image


def write_images() -> None:
    """A photograph, five edits of it, and three other photographs."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    cat = photograph("chelsea.png")
    width, height = cat.size
    cat.save(OUT / "cat.png")
    cat.save(OUT / "1-jpeg-quality-20.jpg", quality=20)
    cat.resize((width * 6 // 10, height * 6 // 10)).save(OUT / "2-smaller.png")
    edge_x, edge_y = width // 20, height // 20
    cat.crop((edge_x, edge_y, width - edge_x, height - edge_y)).save(OUT / "3-crop.png")
    ImageEnhance.Brightness(cat).enhance(1.3).save(OUT / "4-brighter.png")
    captioned(cat, "a cat").save(OUT / "5-caption.png")
    for number, name in enumerate(["coffee.png", "astronaut.png", "rocket.jpg"], start=6):
        photograph(name).save(OUT / f"{number}-{Path(name).stem}.png")


def percert(*arguments: str) -> Any:
    """Run the command as a person would, then once more for its JSON answer."""
    print(f"\n$ percert {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "percert", *arguments]
    subprocess.run(command, check=True)
    answer = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout)


def draw_compare(figure: SubFigure, answer: dict[str, Any]) -> None:
    """Each candidate beside its distance, the interval that holds it, and the threshold."""
    results, rarely = answer["results"], 1 / answer["rule"]["wrong"]
    figure.suptitle(
        "How far is each from the photograph, and between which proven bounds\n"
        f"does that stay under tampering with its pixels of up to l2 = {EPS:g}?\n"
        f"Left of the dashed line, at {answer['threshold']:.4f}, it counts as a copy: within this\n"
        f"photograph's own threshold, as 1 in {rarely:,.0f} unrelated ones are."
    )
    grid = figure.subplots(len(results), 2, width_ratios=[1, 4], squeeze=False)
    right = 1.05 * max(result["upper"] for result in results)
    for result, (picture, axes) in zip(results, grid, strict=True):
        picture.imshow(Image.open(result["candidate"]))
        picture.axis("off")
        colour = "tab:green" if result["copy"] else "tab:gray"
        width = result["upper"] - result["lower"]
        axes.barh(0, width, left=result["lower"], height=1, color=colour, alpha=0.4)
        axes.plot(result["distance"], 0, "o", color=colour)
        axes.axvline(answer["threshold"], color="tab:red", linestyle="--", linewidth=1)
        verdict = "a copy" if result["copy"] else "no copy"
        axes.set_title(
            f"{Path(result['candidate']).name}: {result['distance']:.4f}, {verdict}, "
            f"certified within l2 = {result['radius']:.2f}",
            fontsize=9,
            loc="left",
        )
        last = result is results[-1]
        axes.set(xlim=(-0.01 * right, right), ylim=(-1.5, 1.5), yticks=[])
        axes.tick_params(bottom=last, labelbottom=last)
        axes.spines[["top", "left", "right"]].set_visible(False)
    axes.set_xlabel("distance: 0 is the same, lower is closer")


def draw_judge(figure: SubFigure, triplet: list[str], answer: dict[str, Any]) -> None:
    """The reference between its two candidates, and which is closer."""
    figure.suptitle(
        f"Which is closer to the middle? The {answer['closer']} one, and no tampering\n"
        f"with all three of less than l2 = {answer['radius']:.2f} each can change that"
    )
    reference, left, right = triplet
    captions = [
        f"distance {answer['distance_left']:.4f}",
        "reference",
        f"distance {answer['distance_right']:.4f}",
    ]
    for axes, path, caption in zip(
        figure.subplots(1, 3), [left, reference, right], captions, strict=True
    ):
        axes.imshow(Image.open(path))
        axes.set_title(caption, fontsize=9)
        axes.axis("off")


def main() -> None:
    write_images()
    reference = str(OUT / "cat.png")
    candidates = [str(path) for path in sorted(OUT.glob("[0-9]-*"))]
    compared = percert("compare", reference, *candidates, "--eps", f"{EPS:g}")
    triplet = [reference, str(OUT / "3-crop.png"), str(OUT / "6-coffee.png")]
    judged = percert("judge", *triplet, "--perturbed", "all")
    for name, answer in (("compare", compared), ("judge", judged)):
        (OUT / f"{name}.json").write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")

    figure = plt.figure(figsize=(8, 10), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[len(candidates), 3])
    draw_compare(top, compared)
    draw_judge(bottom, triplet, judged)
    figure.savefig(OUT / "demo.png", dpi=120)
    print(f"\nThe picture of it: {OUT / 'demo.png'}")


if __name__ == "__main__":
    main()
