"""The ImageNet geo data set: which country photographs were taken in, and how rich it is.

Appendix E of Human Imperceptible Attacks: images of ImageNet that come from Flickr, their places
by Flickr's API, the places' countries, and the countries' GDP per capita. Flickr's answers go to a
journal as they come in: a run that was killed asks for no photo twice when it goes on.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, get_type_hints

from percert.fairness.geo.countries import Gdp, countries_of
from percert.fairness.geo.flickr import Answer, FlickrSettings, Unanswered, ask_locations, photo_id
from percert.fairness.geo.splits import assign_splits, labels_of
from percert.files import write_whole
from percert.reports import write_records, write_run
from percert.reports.plots import share_bars
from percert.reports.table import Column, csv_text


class Journal:
    """The answers in a file, one line of JSON each, and a way to add to them.

    Made by :func:`open_journal` only, which keeps others out while it is open.
    """

    def __init__(self, file: BinaryIO, answers: dict[str, Answer]) -> None:
        self._file = file
        self.answers = answers

    def add(self, answer: Answer) -> None:
        """Add one answer; it is on disk when this returns."""
        line = json.dumps(asdict(answer), separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.answers[answer.photo] = answer


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal at ``path``, made where there is none.

    A last line that a kill tore off is dropped. Raises ``ValueError`` where another run has the
    journal open, or a line in it is no answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file, path)
        file.seek(0)
        whole = file.read()
        kept = whole.rfind(b"\n") + 1
        if kept < len(whole):
            file.truncate(kept)
        answers: dict[str, Answer] = {}
        for number, line in enumerate(whole[:kept].splitlines(), 1):
            try:
                answer = Answer(**json.loads(line))
            except (ValueError, TypeError):
                raise ValueError(f"{path}: line {number} is no answer of Flickr's") from None
            answers[answer.photo] = answer
        yield Journal(file, answers)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such thing on Windows, where the user has to see to it
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"{path}: another run is writing to it") from None


Asked = Iterator[Answer | Unanswered]


@dataclass(frozen=True)
class Sources:
    """Images and where they come from. ``photos`` maps an image to its photo at Flickr."""

    photos: dict[str, str]
    elsewhere: int


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


def read_sources(path: Path) -> Sources:
    """Images and addresses: a CSV with columns ``image`` and ``url``, or ImageNet's own list.

    The latter has a name, a tab and an address in each line. Raises ``ValueError`` for neither, an
    image that is there twice, or a list without any address at Flickr.
    """
    # ImageNet's list is not UTF-8 throughout; addresses at Flickr are ASCII.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: holds no lines")
    if "\t" in lines[0]:
        pairs = [line.split("\t", 1) for line in lines]
    else:
        rows = list(csv.reader(lines))
        header = [name.strip() for name in rows[0]]
        if "image" not in header or "url" not in header:
            raise ValueError(
                f"{path}: expected columns image and url, or a name, a tab and an address in each "
                f"line, found {', '.join(header)[:80]!r}"
            )
        image, url = header.index("image"), header.index("url")
        short = [place for place, row in enumerate(rows, 1) if len(row) <= max(image, url)]
        if short:
            raise ValueError(f"{path}: row {short[0]} has no image or no url")
        pairs = [[row[image], row[url]] for row in rows[1:]]
    photos: dict[str, str] = {}
    elsewhere: set[str] = set()
    for number, pair in enumerate(pairs, 1):
        name = pair[0].strip()
        if len(pair) != 2 or not name:
            raise ValueError(f"{path}: line {number}: expected an image and an address")
        if name in photos or name in elsewhere:
            raise ValueError(f"{path}: duplicate images: {name!r} occurs more than once")
        photo = photo_id(pair[1])
        if photo is None:
            elsewhere.add(name)
        else:
            photos[name] = photo
    if not photos:
        raise ValueError(f"{path}: none of {len(elsewhere)} addresses is a photo at Flickr")
    return Sources(photos, len(elsewhere))


def ask_all(
    sources: Sources,
    key: str,
    journal_path: Path,
    settings: FlickrSettings | None = None,
    *,
    watch: Callable[[Iterable[str], int], Iterable[str]] | None = None,
) -> tuple[dict[str, Answer], dict[str, str], int]:
    """All answers, those that could not be had with the reasons, and how many were asked for now.

    Answers in the journal are not asked for again, and a photo of several images once.
    ``watch(photos, count)`` may pass the photos on, such as through a progress bar.
    """
    with open_journal(journal_path) as journal:
        wanted = dict.fromkeys(sources.photos.values())
        open_photos = [photo for photo in wanted if photo not in journal.answers]
        passing = open_photos if watch is None else watch(open_photos, len(open_photos))
        unanswered: dict[str, str] = {}
        # Without anything to ask, not even the key is needed.
        found: Asked = ask_locations(passing, key, settings) if open_photos else iter(())
        for answer in found:
            if isinstance(answer, Unanswered):
                unanswered[answer.photo] = answer.reason
            else:
                journal.add(answer)
        answers = {photo: journal.answers[photo] for photo in wanted if photo in journal.answers}
    return answers, unanswered, len(open_photos)


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
