"""GDP per capita from the CSV file that the World Bank's site hands out."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from percert.fairness.countries import ALPHA3

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
