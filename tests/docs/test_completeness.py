"""Nothing is left out: every verb has its example and its guide, every result and page its link."""

import re

import pytest
from tests.docs.commands import (
    DOCS,
    MEASURED,
    PAGES,
    REPOSITORY,
    examples_of,
    name_of,
    shown_in,
    verb_of,
    verbs,
)

COMMAND_LINE = DOCS / "reference" / "command-line.md"
VERBS = pytest.mark.parametrize("verb", sorted(verbs()), ids=" ".join)
ANYWHERE = [each for page in PAGES for each in shown_in(page) if each.words[0] == "percert"]


@VERBS
def test_a_verb_has_an_example_in_its_help(verb):
    assert verb in {verb_of(each.words) for each in examples_of(verb) if each.words[0] == "percert"}


@VERBS
def test_a_verb_has_an_example_on_a_page(verb):
    assert verb in {verb_of(each.words) for each in ANYWHERE}


@VERBS
def test_a_verb_has_a_guide_that_mentions_it(verb):
    page = COMMAND_LINE.read_text("utf-8")
    named = " ".join(verb)
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{named}`" in line]
    guides = [COMMAND_LINE.parent / target for target in re.findall(r"\]\(([^)#]+)\)", row)]
    assert any(f"percert {named}" in guide.read_text("utf-8") for guide in guides)


def test_the_table_of_guides_names_no_verb_that_is_gone():
    page = COMMAND_LINE.read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {tuple(name.split()) for row in rows for name in re.findall(r"`(.+?)`", row)} == {
        *verbs()
    }


def test_the_page_of_results_links_every_file_of_results():
    page = (DOCS / "results" / "index.md").read_text("utf-8")
    linked = re.findall(r"\]\(([^)/#:]+)\)", page)
    assert len(linked) == len(set(linked))
    there = {path.name for path in (DOCS / "results").iterdir()} - {"index.md"}
    # Pictures are shown by their pages; a page's numbers may be in a file of its own name.
    assert sorted(there - set(linked)) == []
    assert sorted(set(linked) - there) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_imports_of_every_python_block_are_there(page):
    if page.stem == "come-from-other-tools":
        pytest.skip("whole blocks of it run in test_comparison.py")
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
        compile(block, page.name, "exec")
        exec("\n".join(line for line in block.splitlines() if re.match("import|from", line)), {})


def test_no_page_has_the_name_of_one_that_sphinx_writes_itself():
    names = {path.stem.lower() for path in DOCS.glob("*.md")}  # Sphinx's lie at the top
    assert not names & {"search", "genindex", "modindex", "py-modindex"}


def test_the_index_leads_to_every_page():
    index = (DOCS / "index.md").read_text("utf-8")
    trees = "\n".join(re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.M | re.S)).splitlines()
    pages = {each.relative_to(DOCS).with_suffix("").as_posix() for each in {*PAGES, *MEASURED}
             if DOCS in each.parents}  # fmt: skip
    assert "results/*" in trees
    measured = {each.relative_to(DOCS).with_suffix("").as_posix() for each in MEASURED}
    assert pages - measured - {"index"} == set(trees) - {"results/*"} - {
        line for line in trees if line.startswith(":") or not line
    }


def test_every_link_with_an_anchor_leads_to_a_heading():
    """Sphinx checks those of its pages; the README is none of them."""
    for target, anchor in re.findall(
        r"\]\(([^)#\s:]+)#([^)]+)\)", (REPOSITORY / "README.md").read_text("utf-8")
    ):
        headings = re.findall(r"^#+ (.+)$", (REPOSITORY / target).read_text("utf-8"), re.M)
        slugs = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert anchor in slugs, (target, anchor)


def test_the_glossary_is_in_order_and_each_word_is_explained():
    page = (DOCS / "concepts" / "glossary.md").read_text("utf-8")
    _, *entries = re.split(r"^## ", page, flags=re.M)
    words = [entry.splitlines()[0] for entry in entries]
    assert words == sorted(words, key=str.lower)
    assert {"eps", "radius", "certified", "threshold"} <= {*words}
    assert all(len("".join(entry.splitlines()[1:])) > 30 for entry in entries)
