"""Figure 5 of LipSim: some triplets, to look at."""

from percert.data.triplet import Triplet, load_triplet
from percert.evaluation.attack_pictures import as_picture
from percert.evaluation.copies import spread
from percert.evaluation.twoafc import resized
from percert.reports.page import Figure
from percert.reports.picture_grid import Cell, picture_grid
from percert.reproduce.item import Findings, Setting
from percert.reproduce.triplet_runs import SIDE, find_triplets

SHOWN = 6


def figure_5(setting: Setting) -> Findings:
    """A column a triplet: the left candidate, the reference, the right candidate."""
    triplets = find_triplets(setting, of_imagenet=True)
    chosen = [triplets.items[place] for place in spread(len(triplets.items), SHOWN)]
    figure = Figure(
        picture_grid([_cell(triplet) for triplet in chosen], across=len(chosen)),
        "Each column a triplet, from top to bottom: the left candidate, the reference, the right "
        "candidate; above it which of them is the closer one.",
        f"{len(chosen)} triplets of images",
    )
    words = (triplets.words, "The paper shows some triplets, and says not which.")
    return Findings((), words, (figure,), same=triplets.night)


def _cell(triplet: Triplet) -> Cell:
    reference, left, right = (
        as_picture(resized(image, (SIDE, SIDE))) for image in load_triplet(triplet)
    )
    kind = triplet.distortion or triplet.group
    return Cell(f"{kind}: {_said(triplet)}", (left, reference, right))


def _said(triplet: Triplet) -> str:
    if triplet.choice is None or triplet.share is None:
        return "undecided"
    agreed = max(triplet.share, 1 - triplet.share)
    who = f", {agreed:.0%} of {triplet.votes}" if triplet.votes else ""
    return ("left" if triplet.choice == 0 else "right") + who
