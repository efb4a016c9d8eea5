"""Countries: their codes and names, the country of a place on the map, and GDP per capita.

Codes and names are those of ISO 3166-1 (the package ``iso3166``), and Kosovo's XK and XKX, which
GeoNames and the World Bank use though ISO does not. Needs the extra ``geo``.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import iso3166
import numpy as np
import numpy.typing as npt

from percert.extras import install_extra

#: Three letters of every country by its two.
ALPHA3 = {country.alpha2: country.alpha3 for country in iso3166.countries}

#: What countries are called beside the names in ISO 3166-1 and the World Bank's files.
_ALIASES = {
    "brunei": "BRN",
    "burma": "MMR",
    "cape verde": "CPV",
    "congo brazzaville": "COG",
    "congo kinshasa": "COD",
    "czech republic": "CZE",
    "democratic republic of the congo": "COD",
    "east timor": "TLS",
    "great britain": "GBR",
    "ivory coast": "CIV",
    "laos": "LAO",
    "macau": "MAC",
    "macedonia": "MKD",
    "north korea": "PRK",
    "republic of the congo": "COG",
    "russia": "RUS",
    "south korea": "KOR",
    "swaziland": "SWZ",
    "syria": "SYR",
    "the bahamas": "BHS",
    "the netherlands": "NLD",
    "turkey": "TUR",
    "uk": "GBR",
    "vietnam": "VNM",
}

#: The radius of the Earth in km.
_EARTH = 6371.0


def country_code(text: str, names: Mapping[str, str] | None = None) -> str | None:
    """The three letters of a country given by code or name; ``None`` where it is none known.

    ``names`` maps further names, such as those of a World Bank file, to codes.

    >>> [country_code(text) for text in ("de", "NAM", "Ivory Coast", "Iran", "Atlantis")]
    ['DEU', 'NAM', 'CIV', 'IRN', None]
    >>> country_code("Egypt, Arab Rep.", {"Egypt, Arab Rep.": "EGY"})
    'EGY'
    """
    code = text.strip().upper()
    if code in ALPHA3:
        return ALPHA3[code]
    if code in ALPHA3.values():
        return code
    further = {_folded(name): three for name, three in (names or {}).items()}
    return (_names() | further | _ALIASES).get(_folded(text))


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """ISO's names, and the parts before a comma ("Iran, Islamic Republic of") that one has alone.

    "Congo" is the name of one country and the first part of another's: it is taken for neither.
    """
    forms = [(c.name, c.name.split(",")[0], c.alpha3) for c in iso3166.countries]
    bearers = Counter(part for _, part, _ in forms)
    return {
        _folded(form): three
        for name, part, three in forms
        for form in (name, part)
        if bearers[form] < 2
    }


def _folded(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    kept = "".join(c if c.isalnum() else " " for c in letters if not unicodedata.combining(c))
    return " ".join(kept.split())


def countries_of(
    latitudes: Sequence[float], longitudes: Sequence[float], farthest: float = 300.0
) -> list[str | None]:
    """The country of each place in degrees, as three letters, without asking anybody.

    It is the country of the nearest town in GeoNames' list of those with 1,000 people or more, as
    ``reverse_geocode`` carries it: near a border that can be the neighbour's. ``None`` beyond
    ``farthest`` km from any town, as in mid-ocean. Raises ``ValueError`` for a place that is not on
    the map.

    >>> countries_of([52.52, 0.0], [13.40, 0.0])  # Berlin, and the Gulf of Guinea
    ['DEU', None]
    """
    try:
        import reverse_geocode  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ValueError(f"countries need reverse-geocode: {install_extra('geo')}") from None
    places = np.stack([np.asarray(latitudes, float), np.asarray(longitudes, float)], axis=-1)
    if not len(places):
        return []
    # The negation also catches NaN.
    off = ~((np.abs(places[:, 0]) <= 90) & (np.abs(places[:, 1]) <= 180))
    if off.any():
        raise ValueError(f"place: expected degrees, found {places[off][0].tolist()}")
    best = np.full(len(places), np.inf)
    codes: list[str | None] = [None] * len(places)
    # The list is searched as on a flat map: across the date line only by going round.
    for turn in (0.0, -360.0, 360.0):
        rows = np.flatnonzero(np.abs(places[:, 1] + turn) <= 190)
        if not len(rows):
            continue
        found = reverse_geocode.search((places[rows] + [0.0, turn]).tolist())
        towns = np.array([[entry["latitude"], entry["longitude"]] for entry in found])
        distance = _kilometres(places[rows], towns)
        for row, entry, away in zip(rows, found, distance, strict=True):
            if away < best[row]:
                best[row] = away
                codes[row] = ALPHA3.get(entry["country_code"]) if away <= farthest else None
    return codes


def _kilometres(
    places: npt.NDArray[np.float64], towns: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    (lat, lon), (lat2, lon2) = np.radians(places).T, np.radians(towns).T
    half = np.sin((lat2 - lat) / 2) ** 2
    half = half + np.cos(lat) * np.cos(lat2) * np.sin((lon2 - lon) / 2) ** 2
    distance: npt.NDArray[np.float64] = 2 * _EARTH * np.arcsin(np.sqrt(np.minimum(half, 1)))
    return distance


#: A country without a value for the year asked for takes its latest from so many years before.
YEARS_BACK = 5

_YEAR = re.compile(r"^(\d{4})(?: \[YR\d{4}\])?$")
_MISSING = ("", "..")
_INDICATOR = "NY.GDP.PCAP"


@dataclass(frozen=True)
class Gdp:
    """GDP per capita by country code: dollars, and the year that they are of.

    ``names`` maps the file's names of countries to codes, those without a value included.
    ``year`` is the year asked for.
    """

    dollars: dict[str, float]
    years: dict[str, int]
    names: dict[str, str]
    year: int
    indicator: str


def read_gdp(path: Path, year: int | None = None, years_back: int = YEARS_BACK) -> Gdp:
    """Read ``API_NY.GDP.PCAP.CD_DS2_en_csv_v2_....csv``: some rows of metadata, then a table.

    The table has Country Name, Country Code, Indicator Name, Indicator Code, and a column a year.
    The layout of the Bank's DataBank (``2015 [YR2015]``, ``..`` for nothing) is understood too.
    ``year`` is the latest with any value by default. Groups of countries (World, Arab World, ...)
    are left out. Raises ``ValueError`` for a file of another layout or indicator, and for a number
    that is none or not positive.
    """
    rows = list(csv.reader(io.StringIO(_text(path))))
    header = next(
        (place for place, row in enumerate(rows) if "Country Code" in map(str.strip, row)), None
    )
    if header is None:
        raise ValueError(
            f"{path}: no row with the heading 'Country Code'; expected the CSV of the World Bank's "
            "indicator NY.GDP.PCAP.CD"
        )
    names = [name.strip() for name in rows[header]]
    years = {place: int(m[1]) for place, name in enumerate(names) if (m := _YEAR.match(name))}
    if not years or "Country Name" not in names:
        raise ValueError(f"{path}: expected Country Name and columns named by years")
    code, name = names.index("Country Code"), names.index("Country Name")
    kind = next((names.index(n) for n in ("Indicator Code", "Series Code") if n in names), None)
    known = set(ALPHA3.values())
    values: dict[str, dict[int, float]] = {}
    called: dict[str, str] = {}
    indicator = ""
    for row in rows[header + 1 :]:
        row = row + [""] * (len(names) - len(row))
        if row[code].strip() not in known:
            continue
        if kind is not None:
            indicator = row[kind].strip()
            if not indicator.startswith(_INDICATOR):
                raise ValueError(f"{path}: expected the indicator {_INDICATOR}, found {indicator}")
        three = row[code].strip()
        if three in values:
            raise ValueError(f"{path}: country {three} occurs more than once")
        called[row[name].strip()] = three
        values[three] = {
            when: _dollars(row[place], path, three, when)
            for place, when in years.items()
            if row[place].strip() not in _MISSING
        }
    found = {when for country in values.values() for when in country}
    if not found:
        raise ValueError(f"{path}: holds no value for any country")
    wanted = max(found) if year is None else year
    if wanted not in years.values():
        raise ValueError(f"{path}: has the years {min(found)} to {max(found)}, not {wanted}")
    dollars, of = {}, {}
    for three, by_year in values.items():
        usable = [when for when in by_year if wanted - years_back <= when <= wanted]
        if usable:
            of[three] = max(usable)
            dollars[three] = by_year[max(usable)]
    return Gdp(dollars, of, called, wanted, indicator)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            f"{path}: not a CSV in UTF-8 (the Bank's .zip has to be unpacked first)"
        ) from None


def _dollars(text: str, path: Path, country: str, year: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise ValueError(f"{path}: {country}, {year}: expected a positive number, found {text!r}")
    return value
