"""What the pages of the reference list is what there is."""

import importlib
import importlib.util
import re
from types import ModuleType

import pytest
from tests.docs.commands import DOCS, REPOSITORY

REFERENCE = sorted((DOCS / "reference").glob("*.md"))


@pytest.fixture(scope="module")
def written():
    spec = importlib.util.spec_from_file_location("written", DOCS / "written.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(name):
    package, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(package), attribute)


def test_the_api_page_lists_what_is_public_and_nothing_else(written):
    page = written.api()
    described = re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (\S+)$", page, re.M)
    modules = re.findall(r"^- \{py:mod\}`(\S+)`$", page, re.M)
    assert len(described) == len(set(described))
    public = (REPOSITORY / "tests" / "api_surface.txt").read_text("utf-8").split()
    assert sorted([*described, *modules]) == sorted(public)
    assert all(isinstance(named(name), ModuleType) for name in modules)


def test_each_thing_is_shown_as_what_it_is(written):
    page = written.api()
    assert ".. autoclass:: percert.certify.Certificate\n   :members:\n" in page
    assert ".. autofunction:: percert.certify.copies\n" in page
    assert ".. py:data:: percert.images.MAX_MEMORY\n   :value: 2147483648\n" in page


def test_the_tables_have_a_row_for_each_of_the_catalogs(written):
    from percert.attacks import list_attacks
    from percert.metrics import list_metrics

    for table, names in ((written.metrics(), list_metrics()), (written.attacks(), list_attacks())):
        assert re.findall(r"^\| `([\w-]+)` \|", table, re.M) == list(names)


def test_every_part_that_is_written_is_included_by_a_page(written):
    included = [
        name
        for page in REFERENCE
        for name in re.findall(r"\{include\} \.\./_generated/(\S+)", page.read_text("utf-8"))
    ]
    assert sorted(included) == sorted(written.FILES)
