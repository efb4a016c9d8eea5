"""What the pages show of curl, make and the REST interface's addresses is there."""

import re
import shlex

import pytest
from tests.docs.commands import PAGES, REPOSITORY, shown_in

OTHERS = [
    shlex.split(each.text, comments=True)
    for page in [*PAGES, REPOSITORY / "CONTRIBUTING.md"]
    for each in shown_in(page)
    if each.words[0] not in ("percert", "python")
]
MADE_ELSEWHERE = {"pip", "source", "export"}  # the reader's own shell and Python


def addresses_and_fields(folder):
    """``{path: {method: names of the form's fields}}`` of the interface, by its own description."""
    pytest.importorskip("fastapi", reason="needs the extra 'app'")
    from percert.app.resources import Resources
    from percert.app.server import create_app

    described = create_app(Resources(classifiers={}), folder).openapi()
    forms = described.get("components", {}).get("schemas", {})

    def fields(operation):
        content = operation.get("requestBody", {}).get("content", {})
        names = set()
        for kind in content.values():
            schema = kind["schema"]
            names |= set(forms.get(schema.get("$ref", "").split("/")[-1], schema)["properties"])
        return names

    return {
        re.sub(r"\{\w+\}", "X", path): {verb: fields(what) for verb, what in operations.items()}
        for path, operations in described["paths"].items()
    }


def test_every_other_program_is_known():
    assert {words[0] for words in OTHERS} <= MADE_ELSEWHERE | {"make", "curl", ".ci/run"}


def test_every_target_of_make_is_one():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = [words[1] for words in OTHERS if words[0] == "make"]
    assert targets
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.M)] == []


def test_every_curl_asks_for_an_address_with_its_fields(tmp_path):
    known = addresses_and_fields(tmp_path)
    calls = [words for words in OTHERS if words[0] == "curl"]
    assert len(calls) >= 3
    for words in calls:
        path = re.sub(r"/JOB\b", "/X", re.sub(r"^localhost:\d+", "", words[-1]))
        sent = {words[n + 1].split("=")[0] for n, word in enumerate(words) if word == "-F"}
        assert path in known, path
        assert sent <= known[path]["post" if sent else "get"]


def test_every_address_of_the_table_is_there(tmp_path):
    known = addresses_and_fields(tmp_path)
    page = (REPOSITORY / "docs" / "how-to" / "serve-the-page.md").read_text("utf-8")
    rows = [
        line.split("|")[1] for line in page.splitlines() if re.match(r"\| `(GET|POST|DEL)", line)
    ]
    assert len(rows) >= 7
    for row in rows:
        method = re.search("GET|POST|DELETE", row)[0].lower()
        for address in re.findall(r"(/[\w/]+)`", row):
            path = f"/api/v1{address.replace('ID', 'X')}"
            assert method in known.get(path, {}), path
