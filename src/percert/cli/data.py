"""``percert data geo``: the country and its GDP per capita for photographs from Flickr."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import command_line, complain, needs, one_line_errors
from percert.cli.options import JsonOption, out_option
from percert.cli.output import emit_json, say, show_table
from percert.cli.progress import with_progress
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.fairness.geo.dataset import Country, GeoDataset


@one_line_errors
@needs("geo")
def geo(
    sources: Annotated[
        Path,
        typer.Argument(
            metavar="LIST",
            help="CSV with [bold]image[/bold] and [bold]url[/bold], or ImageNet's list: a name, a "
            "tab and an address in each line.",
        ),
    ],
    out: Annotated[Path, out_option("Where the tables and Flickr's answers go.")],
    gdp: Annotated[
        Path | None,
        typer.Option(
            "--gdp",
            metavar="FILE",
            help="The World Bank's CSV of GDP per capita, indicator NY.GDP.PCAP.CD.",
        ),
    ] = None,
    year: Annotated[
        int | None,
        typer.Option(
            help="Of the GDP; the file's latest by default. A country without a value for it takes "
            "its latest of the five years before."
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="ImageNet's classes, one a line (n01440764) in the order of their numbers. The "
            "default is those of the images, in order.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split into training, validation, test.")] = 0,
    rate: Annotated[
        float, typer.Option(help="Requests a second; Flickr allows a key 3,600 an hour.")
    ] = 1.0,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 20.0,
    retries: Annotated[int, typer.Option(min=0, help="After a request that failed.")] = 5,
    farthest: Annotated[
        float,
        typer.Option(min=0, help="Places further from any town, in km, count as in no country."),
    ] = 300.0,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Where Flickr's API is.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """In which country were these photographs from Flickr taken, and how rich is it?

    Asks Flickr for the place of each photo, finds its country offline, splits the images 60/20/20
    and joins the logarithm of GDP per capita. The API key is taken from the environment variable
    FLICKR_API_KEY, and neither shown nor stored. Answers are kept as they come: started again in
    the same folder, a run that was stopped or killed goes on, and asks no photo twice.

    Writes images.csv and images.parquet (image, photo, group, label, latitude, longitude, split:
    what percert audit groups takes as --groups, and percert train adversarial-dataset as --images),
    countries.csv (group, images, gdp_per_capita, gdp_year, log_gdp: what percert audit groups takes
    as --attributes), answers.jsonl and run.json. Photos that are gone or have no place are counted.
    The exit status is 1 if some could not be asked for.

    [bold]Examples[/bold]

    FLICKR_API_KEY=... percert data geo fall11_urls.txt --out geo --gdp
    API_NY.GDP.PCAP.CD_DS2_en_csv_v2.csv

    percert audit groups predictions.csv --attributes geo/countries.csv --attribute log_gdp
    """
    from percert.fairness import FlickrSettings, GeoSettings, make_geo_dataset
    from percert.fairness.geo.flickr import ENDPOINT

    flickr = FlickrSettings(
        endpoint=endpoint or ENDPOINT, rate=rate, timeout=timeout, retries=retries
    )
    made = make_geo_dataset(
        sources,
        out,
        GeoSettings(
            gdp=gdp, year=year, classes=classes, seed=seed, farthest=farthest, flickr=flickr
        ),
        command=command_line(),
        watch=lambda photos, count: with_progress(photos, count, "asking Flickr"),
    )
    dataset, unanswered = made.dataset, made.unanswered
    if as_json:
        emit_json(
            asdict(dataset.counts)
            | {"gdp_year": made.gdp_year}
            | {"groups": [asdict(country) for country in dataset.countries]}
        )
    else:
        _show(dataset, out)
    if unanswered:
        photo, reason = next(iter(unanswered.items()))
        complain(
            f"{len(unanswered)} photos could not be asked for ({photo}: {reason}); run again to "
            "ask for them"
        )
        raise typer.Exit(1)


def _show(dataset: "GeoDataset", out: Path) -> None:
    counts = dataset.counts
    columns: list[Column[Country]] = [
        Column("country", lambda country: country.group),
        Column("images", lambda country: country.images, "d"),
        Column("GDP per capita", lambda country: country.gdp_per_capita, ",.0f", missing=""),
        Column("year", lambda country: country.gdp_year, "d", missing=""),
    ]
    show_table(Table.of(dataset.countries[:30], columns))
    say("")
    say(
        f"Of {counts.images} images {counts.placed} are placed in {counts.countries} countries; "
        f"{counts.elsewhere} are not from Flickr, {counts.gone} photos are gone, "
        f"{counts.without_location} have no location, {counts.without_country} lie in no country, "
        f"{counts.unanswered} could not be asked for. {counts.asked} photos were asked for now."
    )
    say(f"{counts.countries_without_gdp} countries have no GDP per capita.")
    say(f"Written to {out}: images.csv, images.parquet, countries.csv")
