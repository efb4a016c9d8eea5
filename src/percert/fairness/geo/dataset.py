"""The ImageNet geo data set: which country photographs were taken in, and how rich it is.

Appendix E of Human Imperceptible Attacks: images of ImageNet that come from Flickr, their places
by Flickr's API, the places' countries, and the countries' GDP per capita. Flickr's answers go to a
journal as they come in: a run that was killed asks for no photo twice when it goes on.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import get_type_hints

import numpy as np

from percert.fairness.geo.answers import Sources, ask_all, read_sources
from percert.fairness.geo.countries import Gdp, countries_of, read_gdp
from percert.fairness.geo.flickr import KEY_VARIABLE, Answer, FlickrSettings
from percert.files import write_whole
from percert.reports import write_records, write_run
from percert.reports.plots import share_bars
from percert.reports.table import Column, csv_text

#: Of training, validation and test, as in the paper.
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
#: ImageNet calls an image after its class: n02123045_1234.
_CLASS = re.compile(r"(n\d{8})_\d+")


@dataclass(frozen=True)
class GeoCounts:
    """What became of the images: each is ``elsewhere`` or in one of the groups that follow."""

    images: int
    elsewhere: int
    gone: int
    without_location: int
    unanswered: int
    without_country: int
    placed: int
    photos: int
    asked: int
    countries: int
    countries_without_gdp: int


@dataclass(frozen=True)
class PlacedImage:
    """One row of the table: ``group`` is the country, ``label`` the class (:func:`labels_of`)."""

    image: str
    photo: str
    group: str
    label: int | None
    latitude: float
    longitude: float
    split: str


@dataclass(frozen=True)
class Country:
    """One group: ``log_gdp`` is the natural logarithm of dollars a head, ``None`` if unknown."""

    group: str
    images: int
    gdp_per_capita: float | None
    gdp_year: int | None
    log_gdp: float | None


@dataclass(frozen=True)
class GeoDataset:
    """The table, its countries (most images first), and the counts."""

    images: tuple[PlacedImage, ...]
    countries: tuple[Country, ...]
    counts: GeoCounts


def build(
    sources: Sources,
    answers: dict[str, Answer],
    *,
    gdp: Gdp | None = None,
    seed: int = 0,
    asked: int = 0,
    farthest: float = 300.0,
    classes: Sequence[str] = (),
) -> GeoDataset:
    """The data set of what Flickr answered. ``farthest``: see ``countries_of``.

    Images of one photo always come into the same split. ``classes`` are those of ImageNet in order
    (:func:`labels_of`).
    """
    located = [answer for answer in answers.values() if answer.status == "located"]
    codes = countries_of(
        [answer.latitude or 0.0 for answer in located],
        [answer.longitude or 0.0 for answer in located],
        farthest,
    )
    countries = {a.photo: code for a, code in zip(located, codes, strict=True) if code is not None}
    splits = assign_splits(list(countries), seed)
    labels = labels_of([i for i, photo in sources.photos.items() if photo in countries], classes)
    images = tuple(
        PlacedImage(
            image,
            photo,
            countries[photo],
            labels[image],
            float(answers[photo].latitude or 0.0),
            float(answers[photo].longitude or 0.0),
            splits[photo],
        )
        for image, photo in sources.photos.items()
        if photo in countries
    )
    sizes: dict[str, int] = {}
    for row in images:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    groups = tuple(
        _country(code, size, gdp)
        for code, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    )
    status = [
        answers[photo].status if photo in answers else "unanswered"
        for photo in sources.photos.values()
    ]
    counts = GeoCounts(
        images=len(status) + sources.elsewhere,
        elsewhere=sources.elsewhere,
        gone=status.count("gone"),
        without_location=status.count("no-location"),
        unanswered=status.count("unanswered"),
        without_country=status.count("located") - len(images),
        placed=len(images),
        photos=len(set(sources.photos.values())),
        asked=asked,
        countries=len(groups),
        countries_without_gdp=sum(group.log_gdp is None for group in groups),
    )
    return GeoDataset(images, groups, counts)


def labels_of(images: Iterable[str], classes: Sequence[str] = ()) -> dict[str, int | None]:
    """The class index of each image that is called after its class, as ImageNet's are.

    Its place among ``classes``; without them, among the classes of all ``images`` in order.
    ``None`` for other images.

    >>> labels_of(["n02_1", "n02123045_7", "n01440764_3"])
    {'n02_1': None, 'n02123045_7': 1, 'n01440764_3': 0}
    """
    found = {image: _CLASS.match(image.rpartition("/")[2]) for image in images}
    names = classes or sorted({match[1] for match in found.values() if match})
    place = {name: number for number, name in enumerate(names)}
    return {image: place.get(match[1]) if match else None for image, match in found.items()}


def assign_splits(photos: Sequence[str], seed: int) -> dict[str, str]:
    """60 % training, 20 % validation, 20 % test, by chance: whatever the order of ``photos``.

    >>> found = list(assign_splits([str(n) for n in range(10)], seed=0).values())
    >>> found.count("train"), found.count("val"), found.count("test")
    (6, 2, 2)
    """
    ordered = sorted(set(photos))
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    train = round(SHARES["train"] * len(ordered))
    val = train + round(SHARES["val"] * len(ordered))
    return {
        ordered[place]: "train" if rank < train else "val" if rank < val else "test"
        for rank, place in enumerate(shuffled)
    }


def _country(code: str, images: int, gdp: Gdp | None) -> Country:
    dollars = gdp.dollars.get(code) if gdp is not None else None
    if gdp is None or dollars is None:
        return Country(code, images, None, None, None)
    return Country(code, images, dollars, gdp.years[code], math.log(dollars))


def write_dataset(
    dataset: GeoDataset, out: Path, *, command: Sequence[str], seed: int, seconds: float
) -> None:
    """Write images.csv and images.parquet, countries.csv, a figure, and run.json into ``out``."""
    columns = [
        Column[PlacedImage](field.name, attrgetter(field.name)) for field in fields(PlacedImage)
    ]
    kinds = get_type_hints(PlacedImage) | {"label": int}
    write_records(out / "images.parquet", [asdict(row) for row in dataset.images], kinds)
    write_whole(out / "images.csv", csv_text(dataset.images, columns).encode())
    of_countries = [
        Column[Country](field.name, attrgetter(field.name)) for field in fields(Country)
    ]
    write_whole(out / "countries.csv", csv_text(dataset.countries, of_countries).encode())
    if dataset.countries:
        shares = {country.group: float(country.images) for country in dataset.countries}
        write_whole(out / "images-by-country.png", share_bars(shares))
    write_run(
        out,
        command=list(command),
        seed=seed,
        device="cpu",
        seconds=seconds,
        counts=asdict(dataset.counts),
    )


@dataclass(frozen=True, kw_only=True)
class GeoSettings:
    """How the data set is made.

    ``gdp`` is the World Bank's file of GDP per capita, of which ``year`` counts (by default its
    latest). ``classes`` is a file of ImageNet's classes in order (:func:`labels_of`), ``seed`` that
    of the splits, and ``farthest`` (km) as of :func:`~percert.fairness.geo.countries.countries_of`.
    """

    gdp: Path | None = None
    year: int | None = None
    classes: Path | None = None
    seed: int = 0
    farthest: float = 300.0
    flickr: FlickrSettings = field(default_factory=FlickrSettings)


@dataclass(frozen=True)
class GeoRun:
    """The data set, the year of its GDP, and the reasons of photos that were not answered for."""

    dataset: GeoDataset
    gdp_year: int | None
    unanswered: dict[str, str]


def make_geo_dataset(
    listed: Path,
    out: Path,
    settings: GeoSettings | None = None,
    *,
    key: str | None = None,
    command: Sequence[str] = (),
    watch: Callable[[Iterable[str], int], Iterable[str]] | None = None,
) -> GeoRun:
    """Ask Flickr where the images of a list were taken, and write the data set into ``out``.

    ``listed`` is a file as :func:`~percert.fairness.geo.answers.read_sources` takes it. Flickr's
    ``key`` is by default that of the environment. A run that was killed resumes in the same folder.
    ``watch(photos, count)`` may pass the photos on, such as through a progress bar. Raises
    ``ValueError`` for files that are not what they should be, before anything is asked.
    """
    settings, began = settings or GeoSettings(), time.perf_counter()
    # Whatever can be wrong is found out before a day of asking.
    gdp = None if settings.gdp is None else read_gdp(settings.gdp, settings.year)
    sources = read_sources(listed)
    classes = () if settings.classes is None else settings.classes.read_text("utf-8").split()
    key = os.environ.get(KEY_VARIABLE, "").strip() if key is None else key
    answers, unanswered, asked = ask_all(
        sources, key, out / "answers.jsonl", settings.flickr, watch=watch
    )
    dataset = build(
        sources,
        answers,
        gdp=gdp,
        seed=settings.seed,
        asked=asked,
        farthest=settings.farthest,
        classes=classes,
    )
    seconds = time.perf_counter() - began
    write_dataset(dataset, out, command=command, seed=settings.seed, seconds=seconds)
    return GeoRun(dataset, None if gdp is None else gdp.year, unanswered)
