"""Figure 13 of Human Imperceptible Attacks: from which countries the images are."""

import csv
from collections import Counter
from pathlib import Path

from percert.reports.page import Figure
from percert.reports.plots import share_bars
from percert.reproduce.item import Compared, Findings, MissingDataError, Setting

#: What ``percert data geo`` writes, in DATA or in DATA/geo.
FILES = ("countries.csv", "images.csv")
#: Appendix E: images and countries; and countries of at least 50 images, from the F-test.
IMAGES, COUNTRIES, LARGE = 103_995, 207, 41
SMALLEST, NAMED = 50, 5


def figure_13(setting: Setting) -> Findings:
    """Shares of images by country, from the table in the data folder."""
    path = _file(setting)
    counts = _counts(path)
    total = sum(counts.values())
    large = sum(count >= SMALLEST for count in counts.values())
    rows = [
        Compared("images", IMAGES, float(total)),
        Compared("countries", COUNTRIES, float(len(counts))),
        Compared(f"countries with at least {SMALLEST} images", LARGE, float(large)),
        *(
            Compared(f"share of {name}", None, 100 * count / total, "%")
            for name, count in counts.most_common(NAMED)
        ),
    ]
    figure = Figure(
        share_bars({name: float(count) for name, count in counts.most_common()}),
        f"Shares of {total} images by country; those of less than 1 % together.",
        f"Bars of images by country, the longest {counts.most_common(1)[0][0]}",
    )
    words = (
        f"Counted in {path.name}, as percert data geo writes it: photographs that are gone from "
        "Flickr since, or have no place any more, are missing.",
        "The paper prints no shares. Its 41 groups are those of its F-test (39 degrees of freedom "
        "and two), which may leave out countries without a GDP.",
    )
    return Findings(tuple(rows), words, (figure,), same=total == IMAGES)


def _file(setting: Setting) -> Path:
    folders = [] if setting.data is None else [setting.data, setting.data / "geo"]
    for folder in folders:
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
    raise MissingDataError(
        "needs the countries of the images: put countries.csv of percert data geo into DATA/geo"
    )


def _counts(path: Path) -> Counter[str]:
    """Images by country. Raises ``ValueError`` for a table that does not say."""
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            name = row.get("group") if path.name == FILES[0] else row.get("country")
            try:
                if name:
                    counts[name] += int(row["images"]) if path.name == FILES[0] else 1
            except (KeyError, ValueError, TypeError):
                raise ValueError(f"{path}: line {number}: expected a number of images") from None
    if not counts:
        raise ValueError(
            f"{path}: expected rows with group and images, or with country, found none"
        )
    return counts
