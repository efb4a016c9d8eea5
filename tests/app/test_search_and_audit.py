"""Search and audit: what the functions below answer, over the interface and on the page."""

import io
import json
import re
import time

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.app.conftest import png
from tests.waiting import PATIENCE

from percert.app.resources import Limits, Resources
from percert.app.server import create_app
from percert.images.load import decode_image

HTMX = {"HX-Request": "true"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    pytest.importorskip("lancedb", reason="the store needs the extra 'search'")
    from percert.metrics.catalog import create_metric
    from percert.search import open_store

    folder = tmp_path_factory.mktemp("store")
    for seed in range(6):
        (folder / f"{seed}.png").write_bytes(png(seed=seed))
    metric = create_metric("thumbnail", device="cpu")
    opened = open_store(folder / "photos.store", metric)
    opened.add_files([folder / f"{seed}.png" for seed in range(6)])
    return opened


@pytest.fixture(scope="module")
def searched(store, tmp_path_factory):
    with TestClient(
        create_app(Resources(store=store.path), tmp_path_factory.mktemp("searched")),
        base_url="http://localhost",
    ) as made:
        yield made


@pytest.fixture
def client(searched):
    return searched


def screenshot():
    """The fourth stored image, enlarged and pasted onto another."""
    inner = decode_image(png(120, 160, seed=3), "inner")
    image = decode_image(png(240, 320, seed=77), "outer")
    image[:, 60:180, 90:250] = inner
    held = io.BytesIO()
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(held, "PNG")
    return {"image": ("screen.png", held.getvalue())}


def test_pictures_inside_a_query_are_asked_where_that_is_wished(client):
    asked = {"threshold": "0.05", "insets": "true"}
    answer = client.post("/api/v1/copies", files=screenshot(), data=asked).json()
    (inside,) = [one for one in answer["insets"] if one["results"]]
    assert inside["inset"] == {"left": 90, "top": 60, "width": 160, "height": 120}
    assert inside["results"][0]["path"].endswith("/3.png")
    assert inside["results"][0]["path"].count("/") == 1
    assert (answer["results"], answer["verdict"]) == ([], "found")
    without = client.post("/api/v1/copies", files=screenshot(), data={"threshold": "0.05"}).json()
    assert (without["insets"], without["verdict"]) == (None, "nothing")
    shown = client.post("/ui/search", files=screenshot(), data={"insets": "true"}, headers=HTMX)
    assert "Inside it, 160 x 120 pixels at 90, 60" in shown.text
    plain = client.post("/ui/search", files=screenshot(), headers=HTMX).text
    assert "Inside it" not in plain


def test_search_answers_what_the_store_says(client, store):
    files = {"image": ("query.png", png(seed=3))}
    answer = client.post("/api/v1/search", files=files, data={"k": "3", "eps": "0.2"}).json()
    image = decode_image(png(seed=3), "query.png")
    (expected,) = store.search([image], 3, 0.2)
    assert [one["id"] for one in answer["results"]] == [one.id for one in expected.results]
    assert answer["results"][0]["distance"] == pytest.approx(0, abs=1e-7)
    assert answer["results"][0]["path"].endswith("/3.png")
    assert answer["results"][0]["paths"] == [answer["results"][0]["path"]]
    assert all(one["path"].count("/") == 1 for one in answer["results"] + answer["candidates"])
    assert answer["radius_first"] == pytest.approx(expected.radius_first)
    assert (answer["certain"], answer["query"]) == (expected.certain, "query.png")


def test_copies_answers_what_the_store_says(client, store):
    files = {"image": ("query.png", png(seed=3))}
    answer = client.post("/api/v1/copies", files=files, data={"threshold": "0.3"}).json()
    (expected,) = store.copies([decode_image(png(seed=3), "query.png")], 0.3)
    assert [one["id"] for one in answer["results"]] == [one.id for one in expected.results]
    assert answer["results"][0]["certain"] is True
    assert answer["results"][0]["threshold"] == answer["rule"]["threshold"] == 0.3
    rare = client.post("/api/v1/copies", files=files, data={"wrong": "1e-5"}).json()["rule"]
    assert (rare["wrong"], rare["threshold"]) == (1e-5, store.rule(wrong=1e-5).threshold)
    assert client.post("/api/v1/copies", files=files, data={"wrong": "2"}).status_code == 422


def test_the_page_shows_neighbours_with_pictures_of_files_of_the_store_alone(client, store):
    shown = client.post("/ui/search", files={"image": ("q.png", png(seed=3))}, headers=HTMX).text
    assert "certain" in shown
    assert "3.png" in shown
    assert not re.search(r"/\w+/[^ \"<]*\.png", shown)  # where the files lie is the server's
    known = store.rows(["id"])["id"].to_pylist()[0]
    picture = client.get("/api/v1/store/picture", params={"id": known})
    assert picture.content.startswith(b"\x89PNG")
    for other in ("nothing", "' OR 1=1 --", "/etc/passwd", "../0.png"):
        assert client.get("/api/v1/store/picture", params={"id": other}).status_code == 404


def says_of_its_store(client):
    """What the server says of its store, once its worker has imported what reads one."""
    until = time.monotonic() + PATIENCE
    while True:
        about = client.get("/api/v1/about").json()
        if about["store_problem"] != "The store does not answer.":
            return about
        assert time.monotonic() < until


def test_the_server_says_what_it_searches(client, store):
    about = says_of_its_store(client)
    expected = {"images": 6, "version": store.version, "metric": "thumbnail-8", "views": ["whole"]}
    assert about["store"] == expected


def tables(slope=0.1, groups=12, size=60, models=1):
    """Predictions whose accuracy rises with the attribute, exactly as far as counting allows."""
    rows, attributes = ["model,image,group,correct"], ["group,wealth,name"]
    for group in range(groups):
        attributes.append(f"g{group},{group / 10},land {group}")
        right = round(size * (0.5 + slope * group / 10) + 3 * np.sin(group))
        for model in range(models):
            for image in range(size):
                rows.append(f"m{model},g{group}-{image},g{group},{int(image < right)}")
    return "\n".join(rows) + "\n", "\n".join(attributes) + "\n"


def audit(client, predictions, attributes, path="/api/v1/audit", headers=None, **form):
    files = {
        "predictions": ("our predictions.csv", predictions),
        "attributes": ("lands.csv", attributes),
    }
    return client.post(path, files=files, data={"draws": "0", **form}, headers=headers)


def test_audit_answers_what_the_functions_answer(shared, tmp_path):
    from percert.fairness.audit import audit_groups
    from percert.fairness.audit_result import AuditSettings
    from percert.fairness.predictions import read_attributes, read_predictions
    from percert.reports.table import finite

    predictions, attributes = tables(slope=0.4)
    answer = audit(shared, predictions, attributes, attribute="wealth").json()
    for name, text in (("predictions.csv", predictions), ("b.csv", attributes)):
        (tmp_path / name).write_text(text)
    expected = audit_groups(
        read_predictions(tmp_path / "predictions.csv"),
        read_attributes(tmp_path / "b.csv", ("wealth",)),
        settings=AuditSettings(draws=0),
    )
    assert answer == json.loads(json.dumps(finite(expected.to_dict())))
    assert answer["models"][0]["p_value"] < 0.05


def test_the_page_shows_the_report_with_its_figures(shared):
    shown = audit(shared, *tables(slope=0.4), path="/ui/audit", headers=HTMX, attribute="wealth")
    assert shown.status_code == 200
    first = shown.text.index("the accuracy of m0 is associated with wealth: slope +0.")
    assert first < shown.text.index("Null hypothesis")
    for words in ("Does accuracy depend on wealth?", "What may not:", "data:image/png;base64,"):
        assert words in shown.text
    assert "style=" not in shown.text


def decisions(shift):
    rows = ["image,group,label,prediction"]
    for group in range(3):
        for image in range(90):
            hit = image % 9 < 4 + group + shift
            rows.append(
                f"g{group}-{image},g{group},{image % 2},{image % 2 if hit else 1 - image % 2}"
            )
    return "\n".join(rows) + "\n"


def test_outcome_margin_strata_and_an_earlier_version_are_asked_for(shared, tmp_path):
    from percert.fairness.audit import audit_groups
    from percert.fairness.audit_result import AuditSettings
    from percert.fairness.predictions import read_predictions
    from percert.reports.table import finite

    files = {
        "predictions": ("predictions.csv", decisions(2)),
        "before": ("before.csv", decisions(0)),
        "attributes": ("", b""),  # as a browser sends one that was not chosen
    }
    form = {
        "draws": "0", "outcome": "true-positive-rate", "positive": "1", "margin": "0.3",
        "within": "label", "smallest": "10",
    }  # fmt: skip
    answer = shared.post("/api/v1/audit", files=files, data=form)
    assert answer.status_code == 200, answer.text
    for name, shift in (("predictions.csv", 2), ("before.csv", 0)):
        (tmp_path / name).write_text(decisions(shift))
    how = {"outcome": "true-positive-rate", "positive": "1", "strata": ("label",)}
    expected = audit_groups(
        read_predictions(tmp_path / "predictions.csv", **how),
        before=read_predictions(tmp_path / "before.csv", **how).assign(model="predictions"),
        settings=AuditSettings(
            draws=0, smallest=10, outcome="true-positive-rate", positive="1", margin=0.3,
            strata=("label",),
        ),
    )  # fmt: skip
    mine = answer.json()
    assert mine["groups"][0]["true_positive_rate"] == expected.table.accuracy.iloc[0, 0]
    assert mine["details"]["versions"] == json.loads(json.dumps(finite(expected.versions)))
    assert mine["details"]["resolutions"][0]["test"]["effect"] == 0.3
    shown = shared.post("/ui/audit", files=files, data=form, headers=HTMX)
    for words in ("Before and now, on the same images", "Within label", "What to try"):
        assert words in shown.text
    refused = shared.post("/api/v1/audit", files=files, data=form | {"margin": "much"})
    assert refused.status_code == 422
    assert "margin" in refused.json()["reason"]


@pytest.mark.parametrize(
    ("predictions", "attributes", "form", "reason"),
    [
        ("a,b\n1,2\n", None, {}, "our predictions.csv: no column 'image'"),
        (None, "group,x\ng0,one\n", {}, "lands.csv: expected an attribute to name a column"),
        (None, None, {"attribute": "age"}, "lands.csv: no attribute 'age'"),
        (None, None, {"covariance": "none"}, "covariance: expected one of"),
        (None, None, {"smallest": "0"}, "smallest: Input should be greater"),
        (None, None, {"smallest": "61", "attribute": "wealth"}, "group"),
        ("\x80\x04pickle", None, {}, "our predictions.csv: "),
        (b"\x80\x04\x95\xff", None, {}, "our predictions.csv: expected a CSV file in UTF-8"),
        ("PAR1\0\0", None, {}, "our predictions.csv: expected a CSV file"),
        ("", None, {}, "our predictions.csv: "),
        ("image,image,group,correct\n1,1,1,1\n", None, {}, "a column occurs more than once"),
        ("," * 5000 + "\n", None, {}, "5001 columns, more than 64"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_its_own_name(
    shared, predictions, attributes, form, reason
):
    client = shared
    usual = tables()
    answer = audit(
        client,
        usual[0] if predictions is None else predictions,
        usual[1] if attributes is None else attributes,
        **form,
    )
    assert answer.status_code == 422
    assert reason in answer.json()["reason"]
    assert str(client.folder) not in answer.text
    assert list(client.folder.rglob("*.csv")) == []


def test_tables_beyond_the_limits_are_refused(serve):
    client = serve(limits=Limits(rows=500, groups=10))
    assert "720 rows" in audit(client, *tables()).json()["reason"].replace("721", "720")
    client = serve(limits=Limits(groups=10))
    assert (
        "12 groups, more than 10"
        in audit(client, *tables()[:1], "group,wealth\ng0,1\n").json()["reason"]
    )
