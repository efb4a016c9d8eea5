"""The repository itself: what it promises a newcomer, and how it is laid out."""

import doctest
import re
from pathlib import Path

import pytest
import skimage
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *(
        path
        for path in sorted(REPOSITORY.glob("docs/**/*.md"))
        if not {"_build", "_generated"} & {*path.parts}
    ),
]
SOURCES = sorted(REPOSITORY.glob("src/percert/**/*.py"))
ANYWHERE = re.compile(r"^(https?:|mailto:|#)")

NAMES = [path.relative_to(REPOSITORY).as_posix() for path in PAGES]
page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_both_commands_and_the_makefile_has_them(command):
    assert command in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    target = command.removeprefix("make ")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """The working folder of the examples: a photograph, a JPEG copy of it, and another one."""
    data = Path(skimage.__file__).parent / "data"
    original = Image.open(data / "chelsea.png").convert("RGB")
    original.save(tmp_path / "original.png")
    original.resize((300, 200)).save(tmp_path / "upload.jpg", quality=60)
    Image.open(data / "coffee.png").convert("RGB").save(tmp_path / "other.png")
    monkeypatch.chdir(tmp_path)


@page
@pytest.mark.usefixtures("photographs")
def test_the_examples_of_every_page_run(page):
    blocks = re.findall(r"^```pycon\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    examples = doctest.DocTestParser().get_doctest(
        "\n".join(blocks), {}, page.name, str(page), None
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(examples).failed == 0


@page
def test_every_relative_link_of_every_page_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img[^>]* src="([^"]+)"', text)
    missing = [
        target
        for target in targets
        if not ANYWHERE.match(target) and not (page.parent / target.split("#")[0]).exists()
    ]
    assert missing == []


@page
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    # Capitals stand for a name of the reader's own: `src/percert/metrics/NAME.py`.
    named = re.findall(r"`((?:src|tests|docs|demo|experiments|recipes)/[a-z0-9_./-]+)`", text)
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@page
def test_every_verb_that_a_page_names_exists(page):
    from percert.cli import app

    groups = {group.name for group in app.registered_groups}
    verbs = groups | {
        verb.name or verb.callback.__name__.replace("_", "-") for verb in app.registered_commands
    }
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:\$ |`)percert ([a-z]+)\b", text))
    assert named <= verbs


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_source_file_stays_small_enough_for_one_concept(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
