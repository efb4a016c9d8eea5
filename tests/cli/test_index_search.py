"""``percert index search``, ``copies`` and ``duplicates`` answer as ``percert.search`` does."""

import shutil

import pytest

from percert import create_metric
from percert.images import find_images, load_image
from percert.reports import read_records
from percert.search import open_store

MATCH = ["id", "path", "paths", "view", "distance", "lower", "upper", "certain", "radius"]
THRESHOLD = 0.1


@pytest.fixture
def answer_of(percert_json):
    """The one answer to one query."""

    def run(*arguments):
        said = percert_json(*arguments)
        assert list(said) == ["answers", "bad", "left_out"]
        (answer,) = said["answers"]
        assert said["bad"] == said["left_out"] == []
        return answer

    return run


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("collection")
    shutil.copytree(files / "inside", folder / "inside")
    shutil.copy(files / "cat.png", folder / "cat.png")
    return folder


@pytest.fixture(scope="module")
def store(folder):
    """The cat, its noisy and its small copy, and a coffee."""
    path = folder.parent / f"{folder.name}.store"
    open_store(path, create_metric("thumbnail", device="cpu")).add_files([folder])
    return path


def test_the_nearest_come_with_what_is_proven_of_them(store, folder, answer_of):
    answer = answer_of("index", "search", folder / "cat.png", "--store", store, "-k", 3)
    assert list(answer) == ["query", "k", "results", "radius_first", "radius_top_k", "metric"]
    assert [list(one) for one in answer["results"]] == [MATCH] * 3
    names = [one["path"].rsplit("/", 1)[1] for one in answer["results"]]
    assert (names[0], set(names[1:])) == ("cat.png", {"noisy.png", "small.png"})
    assert 0 < answer["radius_first"] <= answer["radius_top_k"]
    assert (answer["metric"], answer["query"]) == ("thumbnail-8", str(folder / "cat.png"))
    metric = create_metric("thumbnail", device="cpu")
    image = load_image(folder / "cat.png")[None]
    (expected,) = open_store(store, metric).search(image, 3)
    assert answer["radius_first"] == pytest.approx(expected.radius_first, rel=1e-12)
    for one, match in zip(answer["results"], expected.results, strict=True):
        assert one["lower"] <= one["distance"] <= one["upper"]
        assert one["radius"] == pytest.approx(match.radius, rel=1e-12)


def test_eps_lists_all_that_could_be_first(store, folder, percert, answer_of):
    arguments = ("index", "search", folder / "cat.png", "--store", store)
    radius = answer_of(*arguments)["radius_first"]
    inside = answer_of(*arguments, "--eps", 0.99 * radius)
    assert inside["certain"] is True
    assert [one["path"] for one in inside["candidates"]] == [str(folder / "cat.png")]
    beyond = answer_of(*arguments, "--eps", 1.01 * radius)
    assert beyond["certain"] is False
    assert len(beyond["candidates"]) == 2
    assert "Certain" in percert(*arguments, "--eps", 0.99 * radius).stdout
    assert "one of 2 images is the first" in percert(*arguments, "--eps", 1.01 * radius).stdout


def test_eps_is_a_length_of_each_querys_own_size(store, files, percert_json):
    arguments = ("index", "search", files, "--store", store, "-k", 1)
    found = percert_json(*arguments, "--eps", "linf:1/255", exit_code=1)["answers"]
    sizes = {str(path): load_image(path).shape[-2:] for path in find_images([files / "inside"])}
    asked = {one["query"]: one["eps"] for one in found if one["query"] in sizes}
    assert len(set(asked.values())) > 1
    for query, eps in asked.items():
        height, width = sizes[query]
        assert eps == pytest.approx((3 * height * width) ** 0.5 / 255)
    # In the order of the queries, whatever their sizes.
    plain = percert_json(*arguments, exit_code=1)["answers"]
    assert [one["query"] for one in found] == [one["query"] for one in plain]


def test_several_queries_are_a_list_and_bad_ones_named(store, files, percert, percert_json):
    answer = percert_json("index", "search", files, "--store", store, "-k", 1, exit_code=1)
    assert len(answer["answers"]) == 4
    assert [one["path"] for one in answer["bad"]] == [str(files / "bad.png")]
    for one in answer["answers"]:
        assert one["results"][0]["distance"] < 1e-7  # each is stored, in half precision
    said = percert("index", "search", files, "--store", store, "-k", 1, exit_code=1)
    assert "1 images could not be read" in said.stderr


def test_copies_are_certain_or_possible_and_no_other_could_be(store, folder, percert, answer_of):
    arguments = ("index", "copies", folder / "inside" / "noisy.png", "--store", store)
    plain = answer_of(*arguments, "--threshold", THRESHOLD)
    assert list(plain) == ["query", "rule", "eps", "results", "metric", "verdict"]
    assert [list(one) for one in plain["results"]] == [[*MATCH, "threshold"]] * 3
    assert {one["threshold"] for one in plain["results"]} == {THRESHOLD}
    assert all(one["certain"] and one["distance"] <= THRESHOLD for one in plain["results"])
    far = answer_of(*arguments, "--threshold", THRESHOLD, "--eps", 30)
    assert len(far["results"]) == 4
    for one in far["results"]:
        assert one["certain"] == (one["distance"] <= THRESHOLD and one["radius"] > 30)
    assert "none is missing" in percert(*arguments, "--threshold", THRESHOLD).stdout


def test_pictures_inside_a_query_are_asked_as_well(
    store, folder, tmp_path, percert, percert_json, answer_of
):
    from PIL import Image

    with Image.open(folder / "cat.png") as file:
        cat = file.convert("RGB").resize((100, 75))
    page = Image.new("RGB", (250, 190), (244, 240, 230))
    page.paste(cat, (90, 60))
    page.save(tmp_path / "page.png")
    arguments = ("index", "copies", tmp_path / "page.png", "--store", store, "--threshold", "0.05")
    answer = answer_of(*arguments, "--insets")
    found = [one for one in answer["insets"] if one["results"]]
    assert found[0]["inset"] == {"left": 90, "top": 60, "width": 100, "height": 75}
    assert "cat.png" in found[0]["results"][0]["path"]
    assert answer["verdict"] == "found"
    assert "Inside it, 100 x 75 at 90, 60" in percert(*arguments, "--insets").stdout
    assert "insets" not in answer_of(*arguments)
    page.paste(cat.transpose(Image.Transpose.ROTATE_180), (90, 60))
    page.save(tmp_path / "page.png")
    assert "picture of its own, which is no copy" in percert(*arguments, "--insets").stdout
    Image.new("RGB", (250, 190)).save(tmp_path / "page.png")
    assert "nothing looks like a picture of its own" in percert(*arguments, "--insets").stdout


def test_a_query_says_how_many_wrong_answers_are_bearable(store, folder, percert, answer_of):
    arguments = ("index", "copies", folder / "cat.png", "--store", store)
    own = answer_of(*arguments)["rule"]
    assert list(own) == ["threshold", "weight", "background", "source", "wrong", "counted"]
    assert own["wrong"] == 1e-3
    strict = answer_of(*arguments, "--wrong", "1e-6")["rule"]
    assert 0 < strict["threshold"] < own["threshold"] < 0.5
    back = answer_of(*arguments, "--threshold", own["threshold"])["rule"]
    assert back["wrong"] == pytest.approx(1e-3)
    said = percert(*arguments, "--wrong", "1e-5").stdout
    assert "1 in 100,000" in said
    both = percert(*arguments, "--wrong", "1e-5", "--threshold", "0.3", exit_code=2).stderr
    assert "takes the place of --wrong" in both


def test_duplicates_are_linked_clustered_and_written(
    store, folder, tmp_path, percert, percert_json
):
    arguments = ("index", "duplicates", "--store", store, "--threshold", THRESHOLD)
    answer = percert_json(*arguments)
    assert {tuple(sorted((one["first"], one["second"]))) for one in answer["links"]}
    assert (len(answer["links"]), len(answer["clusters"]), answer["compared"]) == (3, 1, 6)
    (cluster,) = answer["clusters"]
    assert len(cluster["ids"]) == 3
    named = {path.rsplit("/", 1)[1] for path in cluster["paths"]}
    assert named == {"cat.png", "noisy.png", "small.png"}
    linked = {one[side] for one in answer["links"] for side in ("first_path", "second_path")}
    assert linked == set(cluster["paths"])
    assert 0 < cluster["radius"] <= max(one["radius"] for one in answer["links"])
    out = tmp_path / "duplicates"
    assert "3 images, connected" in percert(*arguments, "--out", out).stdout
    assert {"records.parquet", "clusters.parquet", "run.json", "work.json"} <= {
        path.name for path in out.iterdir()
    }
    again = percert_json(*arguments, "--out", out)  # goes on where nothing is left to do
    assert again["links"] == answer["links"]
    other = percert(*arguments[:-1], 0.2, "--out", out, exit_code=1)
    assert "of threshold 0.1, expected 0.2" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("search", "cat.png", "-k", "0"), 2, "Invalid value"),
        (("search", "cat.png", "--eps", "-1"), 2, "eps"),
        (("search", "cat.png", "--eps", "nan"), 2, "Invalid value"),
        (("search", "bad.png"), 1, "could not be read"),
        (("search", "missing.png"), 1, "missing.png"),
        (("copies", "cat.png", "--threshold", "4"), 2, "Invalid value"),
        (("copies", "cat.png", "--threshold", "2.5"), 1, "expected a number in [0, 2]"),
        (("copies", "cat.png", "--wrong", "2"), 2, "expected a rate between 0 and 1"),
        (("copies", "cat.png", "--wrong", "few"), 2, "Invalid value"),
        (("duplicates", "--threshold", "-1"), 2, "Invalid value"),
    ],
)
def test_errors(store, files, monkeypatch, percert, arguments, exit_code, said):
    monkeypatch.chdir(files)
    result = percert("index", *arguments, "--store", store, exit_code=exit_code)
    assert said in f"{result.stderr}{result.stdout}"


def test_files_of_the_same_bytes_are_all_named(folder, tmp_path, percert, percert_json):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        shutil.copy(folder / "cat.png", photos / name)
    shutil.copy(folder / "inside" / "deeper" / "coffee.png", photos / "coffee.png")
    store = tmp_path / "store"
    percert("index", "add", photos, "--store", store, "--metric", "thumbnail")
    cats = [str(photos / name) for name in ("a.png", "b.png", "c.png")]
    arguments = ("index", "copies", photos / "b.png", "--store", store, "--threshold", 0.01)
    (answer,) = percert_json(*arguments)["answers"]
    assert [(one["path"], one["paths"]) for one in answer["results"]] == [(cats[0], cats)]
    said = percert(*arguments).stdout
    assert all(path in said for path in cats)
    assert "the same bytes" in said
    out = tmp_path / "duplicates"
    arguments = ("index", "duplicates", "--store", store, "--threshold", 0.01, "--out", out)
    found = percert_json(*arguments)
    assert [(one["first_path"], one["second_path"], one["distance"]) for one in found["links"]] == [
        (cats[0], path, 0.0) for path in cats[1:]
    ]
    assert [one["paths"] for one in found["clusters"]] == [cats]
    said = percert(*arguments).stdout
    assert "2 links, 2 of them of files with the same bytes, in 1 clusters" in said
    assert "3 images, connected" in said
    rows = read_records(out / "clusters.parquet")
    assert [(row["cluster"], row["path"]) for row in rows] == [(0, path) for path in cats]
    rows = read_records(out / "records.parquet")
    assert [(row["second_path"], row["radius"]) for row in rows] == [
        (one["second_path"], one["radius"]) for one in found["links"]
    ]


def test_the_first_copies_say_how_far_the_query_may_be_edited(store, folder, answer_of, percert):
    arguments = ("index", "copies", folder / "cat.png", "--store", store, "--threshold", THRESHOLD)
    answer = answer_of(*arguments, "--edits")
    assert len(answer["results"]) == 3
    for row in answer["results"]:
        brightness = row["edits"]["ranges"][0]
        assert (brightness["edit"], brightness["decision"]) == ("brightness", 1)
        assert brightness["low"] < 1 < brightness["high"]
    (plain,) = percert_rows(answer_of(*arguments))
    assert "edits" not in plain
    said = percert(*arguments, "--edits").stdout.replace("\n", " ")
    assert f"beside {folder / 'cat.png'} stays a copy under" in said.replace("  ", " ")


def percert_rows(answer):
    return answer["results"][:1]
