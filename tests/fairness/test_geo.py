"""The geo data set: lists, answers kept on disk, countries, GDP, splits."""

import collections

import numpy as np
import pytest
from tests.fairness.flickr_server import KEY, NO_LOCATION, FlickrServer, located

from percert.fairness import FlickrSettings, GeoSettings, make_geo_dataset
from percert.fairness.geo.answers import Sources, ask_all, open_journal, read_sources
from percert.fairness.geo.countries import ALPHA3, countries_of, country_code, read_gdp
from percert.fairness.geo.dataset import assign_splits, build
from percert.fairness.geo.flickr import Answer

WORLD_BANK = """\ufeff"Data Source","World Development Indicators",

"Last Updated Date","2024-06-28",

"Country Name","Country Code","Indicator Name","Indicator Code","2019","2020","2021","2022","2023",
"Aruba","ABW","GDP per capita (current US$)","NY.GDP.PCAP.CD","30000.5","","","","",
"Germany","DEU","GDP per capita (current US$)","NY.GDP.PCAP.CD","46000","46700","51400","48700","",
"Egypt, Arab Rep.","EGY","GDP per capita (current US$)","NY.GDP.PCAP.CD","","","","4295.4","",
"Namibia","NAM","GDP per capita (current US$)","NY.GDP.PCAP.CD","","","","",""
"World","WLD","GDP per capita (current US$)","NY.GDP.PCAP.CD","11000","11000","12000","12700","",
"""


@pytest.fixture
def gdp_file(tmp_path):
    path = tmp_path / "API_NY.GDP.PCAP.CD_DS2_en_csv_v2_1.csv"
    path.write_text(WORLD_BANK, encoding="utf-8")
    return path


def test_the_world_banks_file(gdp_file):
    gdp = read_gdp(gdp_file)
    assert gdp.year == 2022  # 2023 has a column, and nothing in it
    assert gdp.dollars == {"ABW": 30000.5, "DEU": 48700.0, "EGY": 4295.4}
    assert gdp.years == {"ABW": 2019, "DEU": 2022, "EGY": 2022}
    assert gdp.names["Egypt, Arab Rep."] == "EGY"
    assert gdp.indicator == "NY.GDP.PCAP.CD"
    assert read_gdp(gdp_file, 2020).dollars == {"ABW": 30000.5, "DEU": 46700.0}
    assert read_gdp(gdp_file, years_back=0).dollars == {"DEU": 48700.0, "EGY": 4295.4}


def test_the_databanks_layout(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(
        "Country Name,Country Code,Series Name,Series Code,2015 [YR2015],2016 [YR2016]\n"
        "Chad,TCD,GDP per capita,NY.GDP.PCAP.CD,776.0,..\n"
    )
    assert read_gdp(path).dollars == {"TCD": 776.0}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Country Code", "Code", "no row with the heading 'Country Code'"),
        ("NY.GDP.PCAP.CD", "SP.POP.TOTL", "found SP.POP.TOTL"),
        ("48700", "many", "DEU, 2022: expected a positive number, found 'many'"),
        ("48700", "-1", "DEU, 2022: expected a positive number"),
        ('"ABW"', '"DEU"', "country DEU occurs more than once"),
        ("Country Name", "Land", "Country Name"),
    ],
)
def test_a_bad_file_of_the_world_bank_is_one_error(gdp_file, old, new, said):
    gdp_file.write_text(WORLD_BANK.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_gdp(gdp_file)


def test_years_and_formats_that_are_not_there(gdp_file):
    with pytest.raises(ValueError, match="2019 to 2022, not 1999"):
        read_gdp(gdp_file, 1999)
    gdp_file.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match="unpacked first"):
        read_gdp(gdp_file)


def test_countries_by_code_and_name(gdp_file):
    names = read_gdp(gdp_file).names
    for text in ("DE", "deu", "Germany", " germany "):
        assert country_code(text, names) == "DEU"
    assert country_code("Egypt") == country_code("Egypt, Arab Rep.", names) == "EGY"
    assert country_code("NA") == "NAM"
    for text, code in (("Iran", "IRN"), ("Russia", "RUS"), ("Macau", "MAC"), ("Kosovo", "XKX")):
        assert country_code(text) == code
    assert country_code("Congo, Rep.", {"Congo, Rep.": "COG"}) == "COG"
    assert country_code("Congo") is country_code("Korea") is None  # two are called so
    assert country_code("Narnia", names) is None
    assert len(ALPHA3) == len(set(ALPHA3.values())) == 250


def test_the_country_of_a_place():
    places = {
        "KEN": (-1.286, 36.817),
        "BRA": (-15.79, -47.88),
        "NZL": (-36.85, 174.76),
        "ISL": (64.15, -21.94),
        "FJI": (-16.8, -179.97),  # across the date line from the nearest town
        "USA": (61.22, -149.9),
    }
    found = countries_of([place[0] for place in places.values()], [p[1] for p in places.values()])
    assert found == list(places)
    assert countries_of([-40.0], [-120.0]) == [None]  # the middle of the Pacific
    assert countries_of([], []) == []
    for bad in (91.0, np.nan):
        with pytest.raises(ValueError, match="degrees"):
            countries_of([bad], [0.0])


def test_lists_of_images(tmp_path):
    path = tmp_path / "list"
    address = "http://farm1.static.flickr.com/1/{}_ab.jpg"
    path.write_bytes(
        f"n01_1\t{address.format(11)}\nn01_2\thttp://x.com/\xe9.jpg\nn01_3\t{address.format(11)}\n".encode(
            "latin-1"
        )
    )
    assert read_sources(path) == Sources({"n01_1": "11", "n01_3": "11"}, elsewhere=1)
    path.write_text(f"url,image\n{address.format(7)},a.jpg\n")
    assert read_sources(path) == Sources({"a.jpg": "7"}, elsewhere=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no lines"),
        ("file,address\na,b\n", "expected columns image and url"),
        ("image,url\na,http://x.com/1.jpg\n", "none of 1 addresses"),
        ("image,url\na\n", "row 2 has no image or no url"),
        ("a\thttp://flic.kr/p/2\na\thttp://flic.kr/p/3\n", "duplicate images: 'a'"),
        ("\thttp://flic.kr/p/2\n", "line 1"),
    ],
)
def test_a_bad_list_is_one_error(tmp_path, text, said):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_sources(tmp_path / "list")


def test_the_journal_survives_a_torn_line_and_shares_with_nobody(tmp_path):
    path = tmp_path / "new" / "answers.jsonl"
    first, second = Answer("1", "located", 1.5, -2.25, 16), Answer("2", "gone")
    with open_journal(path) as journal:
        journal.add(first)
        with pytest.raises(ValueError, match="another run"), open_journal(path):
            pass
        journal.add(second)
    with path.open("ab") as file:
        file.write(b'{"photo":"3","stat')
    with open_journal(path) as journal:
        assert journal.answers == {"1": first, "2": second}
        journal.add(Answer("3", "gone"))
    with open_journal(path) as journal:
        assert list(journal.answers) == ["1", "2", "3"]
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(ValueError, match="line 1 is no answer"), open_journal(path):
        pass


def test_nothing_is_asked_twice(tmp_path):
    sources = Sources({"a": "1", "b": "2", "c": "1"}, 0)
    with FlickrServer({"1": located("1", 48.85, 2.35), "2": [500, 500, NO_LOCATION]}) as server:
        settings = FlickrSettings(endpoint=server.endpoint, rate=1000, retries=1, backoff=0)
        answers, missing, asked = ask_all(sources, KEY, tmp_path / "j", settings)
        assert (list(answers), missing, asked) == (["1"], {"2": "HTTP 500"}, 2)
        answers, missing, asked = ask_all(sources, KEY, tmp_path / "j", settings)
        assert (list(answers), missing, asked) == (["1", "2"], {}, 1)
        answers, missing, asked = ask_all(sources, "", tmp_path / "j", settings)
        assert (list(answers), missing, asked) == (["1", "2"], {}, 0)
        assert server.asked == {"1": 1, "2": 3}


def test_the_table_and_its_counts(gdp_file):
    sources = Sources({"a": "1", "b": "2", "c": "1", "d": "3", "e": "4", "f": "5", "g": "6"}, 2)
    answers = {
        "1": Answer("1", "located", 52.52, 13.4),
        "2": Answer("2", "gone"),
        "3": Answer("3", "no-location"),
        "4": Answer("4", "located", 0.0, 0.0),
        "5": Answer("5", "located", -22.56, 17.08),
    }
    dataset = build(sources, answers, gdp=read_gdp(gdp_file))
    assert [(row.image, row.group) for row in dataset.images] == [
        ("a", "DEU"),
        ("c", "DEU"),
        ("f", "NAM"),
    ]
    assert dataset.images[0].split == dataset.images[1].split
    germany, namibia = dataset.countries
    assert (germany.group, germany.images, germany.gdp_year) == ("DEU", 2, 2022)
    assert germany.log_gdp == pytest.approx(np.log(48700))
    assert (namibia.group, namibia.log_gdp) == ("NAM", None)
    counts = dataset.counts
    assert counts.images == 9
    assert (counts.elsewhere, counts.gone, counts.without_location) == (2, 1, 1)
    assert (counts.unanswered, counts.without_country, counts.placed) == (1, 1, 3)
    assert (counts.photos, counts.countries, counts.countries_without_gdp) == (6, 2, 1)


def test_the_data_set_is_made_by_one_call(tmp_path, gdp_file, monkeypatch):
    listed = tmp_path / "list.csv"
    address = "https://live.staticflickr.com/1/{}_0123456789.jpg"
    listed.write_text(f"image,url\na,{address.format(11)}\nb,{address.format(22)}\n")
    monkeypatch.setenv("FLICKR_API_KEY", KEY)
    with FlickrServer({"11": located("11", 52.52, 13.4), "22": [500, NO_LOCATION]}) as server:
        flickr = FlickrSettings(endpoint=server.endpoint, rate=1000, retries=0, backoff=0)
        settings = GeoSettings(gdp=gdp_file, flickr=flickr)
        first = make_geo_dataset(listed, tmp_path / "geo", settings)
        assert first.unanswered == {"22": "HTTP 500"}
        assert first.dataset.counts.asked == 2
        second = make_geo_dataset(listed, tmp_path / "geo", settings)
    assert (second.unanswered, second.dataset.counts.asked, second.gdp_year) == ({}, 1, 2022)
    assert [(row.image, row.group) for row in second.dataset.images] == [("a", "DEU")]
    written = {path.name for path in (tmp_path / "geo").iterdir()}
    assert {"images.csv", "images.parquet", "countries.csv", "run.json"} <= written


def test_files_that_are_wrong_are_told_before_anything_is_asked(tmp_path, gdp_file):
    listed = tmp_path / "list.csv"
    listed.write_text("image,url\na,https://live.staticflickr.com/1/11_0123456789.jpg\n")
    settings = GeoSettings(gdp=gdp_file, classes=tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        make_geo_dataset(listed, tmp_path / "geo", settings, key=KEY)
    assert not (tmp_path / "geo").exists()


def test_splits():
    photos = [str(place) for place in range(1000)]
    found = assign_splits(photos, 0)
    assert collections.Counter(found.values()) == {"train": 600, "val": 200, "test": 200}
    assert assign_splits(photos[::-1] + photos, 0) == found
    same = sum(assign_splits(photos, 1)[photo] == split for photo, split in found.items())
    # Two splits that know nothing of each other agree on 44 %; four standard errors are 6 %.
    assert 380 < same < 500
