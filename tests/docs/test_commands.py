"""Every command that a page or a help shows is run, on little; what cannot be run is parsed.

Parsing is by the command's own parser, so that a verb or an option that was renamed fails here.
"""

import glob
import json
import re
import shutil

import pytest
from tests.docs.commands import (
    PAGES,
    RESULTS,
    Shown,
    examples_of,
    mentioned_in,
    name_of,
    options_of,
    parse,
    shell_lines,
    shown_in,
    verb_of,
    verbs,
)
from tests.docs.world import PLACES, build_world
from tests.fairness.flickr_server import KEY, FlickrServer, located
from typer.testing import CliRunner

from experiments.papers.__main__ import app as papers
from percert.cli import app

for package in ("pyarrow", "matplotlib", "jinja2", "cv2", "lancedb", "lightning_fabric", "sklearn"):
    pytest.importorskip(package, reason="the pages show verbs of every extra")
for package in (
    "imagehash",
    "pdqhash",
    "statsmodels",
    "fairlearn",
    "reverse_geocode",
    "stlpips_pytorch",
):
    pytest.importorskip(package, reason="the pages show verbs of every extra")

# What is not run, by what its text holds, and why. Each must be found somewhere.
PARSED_ONLY = {
    r"^percert app|PERCERT_TOKEN=": "a server that stays",
    r"--engine ray": "starts a cluster; tests/search and tests/attacks run Ray where it is there",
    r"timm:": "downloads a network",
    r"u2net\.onnx": "a network that does not come with percert",
    r"recipes/lipsim-paper": "needs ImageNet, NIGHT and DreamSim's weights, and days of GPUs",
    r"my\.toml": "torchrun, whose processes tests/training/test_ddp.py starts",
    r"train copies recipes": "hours of training; tests/cli/test_train_copies.py runs small ones",
    r"papers (all|lipsim)": "minutes; tests/experiments/papers runs items of each kind",
    r"model\.ckpt-1\.pth": "weights of LipSim's authors; tests/cli/test_train_distill.py",
    r"my-weights\.safetensors": "63 million weights; tests/audit runs the verb on smaller networks",
    r"--metric dreamsim": "downloads networks",
    r"--partner": "a package for Python 3.12, or 200 pictures; tests/cli/test_index_partner.py",
    r"python -m experiments (?!papers)": "real photographs, and long",
    r"audit network": "seconds; tests/cli/test_audit.py runs it",
    r"--from collection": "64 images that differ, and more; tests/cli/test_index_store.py",
    r"index remove 9f86": "the digest of no image that is here",
}
# Options that make a run small: given in place of those shown, or besides.
SMALLER = {
    ("attack", "classify"): {"--limit": "1"},
    ("attack", "metric"): {"--limit": "1", "--metric": "thumbnail"},
    ("audit", "groups"): {"--draws": "20", "--min-size": "1"},
    ("eval", "copies"): {
        "--queries": "1",
        "--attacked": "1",
        "--steps": "1",
        "--eps": "4",
        "--edits": "mirror",
    },
    ("eval", "defences"): {"--defence": "bits-4"},
    ("eval", "people"): {"--draws": "3", "--size": "48"},
    ("eval", "retrieval"): {"--queries": "1", "--attack": "pgd:norm=l2,steps=2"},
    ("eval", "stability"): {
        "--size": "24",
        "--limit": "1",
        "--steps": "2",
        "--metric": "thumbnail",
    },
    ("eval", "twoafc"): {
        "--size": "24",
        "--limit": "1",
        "--attack": "pgd:steps=2",
        "--l2": "1",
        "--linf": "0.01",
    },
    ("train", "adversarial-dataset"): {"--limit": "10", "--rounds": "1"},
    ("train", "dro"): {"--steps": "1", "--models": "2"},
    ("index", "add"): {"--views": "whole"},
}


# What a page or help may take for granted, and the command that makes it.
ATTACK = (
    "attack classify --images photos --labels labels.csv --limit 1 --model squeezenet1_0 "
    "--weights squeezenet.safetensors"
)
EARLIER = {
    "photos.store": "index add photos --store photos.store --views whole",
    "plan.json": "index duplicates --store photos.store --plan plan.json --do delete",
    "out/first": f"{ATTACK} --attack pgd --attack ascent:steps=3 --out out/first",
    "out/b": f"{ATTACK} --attack ascent:steps=2 --out out/b",
    "runs/night": "train distill tiny-distill.toml --data . --out runs/night --no-tensorboard",
    "runs/mine": "export lipsim-tiny --out runs/mine",
    "my-metric": "export runs/night --out my-metric",
}
COPIES_OF_FIRST = ("out/a", "out/a0", "out/a5", "out/pgd", "out/ours")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def earlier(world, tmp_path_factory):
    """What an earlier command leaves behind, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("earlier") / "world"

    def make(name, at):
        for other in EARLIER:
            if asks_for(["percert", *EARLIER[name].split()], other) and not (at / other).exists():
                make(other, at)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(at)
            done = CliRunner().invoke(app, EARLIER[name].split())
            assert done.exit_code == 0, f"{done.output}{done.exception!r}"

    def leave(name, to):
        if name in ("photos.store", "plan.json"):  # they hold the images' paths
            return make(name, to)
        made = "out/first" if name in COPIES_OF_FIRST else name
        if not folder.exists():
            shutil.copytree(world, folder)
        if not (folder / made).exists():
            make(made, folder)
        return shutil.copytree(folder / made, to / name)

    return leave


@pytest.fixture
def flickr(monkeypatch):
    monkeypatch.setenv("FLICKR_API_KEY", KEY)
    with FlickrServer({str(n): located(str(n), *PLACES[n % 4]) for n in range(1, 9)}) as server:
        yield server


def small(words, flickr):
    """The words of a command with what makes it small, and its wildcards replaced."""
    verb = verb_of(words)
    smaller = dict(SMALLER.get(verb, {}))
    if verb == ("data", "geo"):
        smaller = {"--endpoint": flickr.endpoint, "--rate": "1000"}
    if verb == ("eval", "twoafc") and "--attack" not in words:
        smaller = {"--size": "24", "--limit": "1"}
    words = [each for word in words[1:] for each in (sorted(glob.glob(word)) or [word])]
    kept, places = [], iter(range(len(words)))
    for place in places:
        if words[place] in smaller:
            next(places)
        else:
            kept.append(words[place])
    return [*kept, *(word for option in smaller.items() for word in option)]


def run(command, folder, flickr):
    words = command.words
    if words[0] == "python":
        done = CliRunner().invoke(papers, words[4:])
        assert done.exit_code == 0, f"$ {command.text}\n{done.output}{done.exception!r}"
        return
    done = CliRunner().invoke(app, small(words, flickr))
    said = f"$ {command.text}\n{done.stdout}{done.stderr}{done.exception!r}"
    assert done.exit_code == 0, said
    if "--out" in words and verb_of(words)[0] in ("attack", "eval"):
        out = folder / words[words.index("--out") + 1]
        measured = words[1:3] != ["eval", "attacks"] or "--metrics" in words
        assert (out / "records.parquet").is_file() or not measured
        assert (out / "run.json").is_file()
        assert words[1] != "eval" or (out / "report.html").is_file()
    if "--json" in words:
        answer = json.loads(done.stdout)
        for key in re.findall(r"^jq (?:-r )?\.(\w+)", command.piped_into):
            assert key in answer, said


def asks_for(words, name):
    """Whether a command needs what an earlier one has made, rather than making it itself."""
    if words[1:3] == ["index", "add"]:
        return False
    places = [place for place, word in enumerate(words) if word.removeprefix("./") == name]
    every_run = words[1] == "report" and name.startswith("out/")
    return every_run or any(words[place - 1] not in ("--out", "--plan") for place in places)


@pytest.fixture
def go_through(world, earlier, flickr, tmp_path, monkeypatch):
    """Run commands one after another in one folder, those that cannot be run only parsed."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)

    def run_all(commands):
        for command in commands:
            words = command.words
            if words == ["python", "-m", "experiments"] or words[0] not in ("percert", "python"):
                continue
            for name in (*EARLIER, *COPIES_OF_FIRST):
                if asks_for(words, name) and not (folder / name).exists():
                    earlier(name, folder)
            parse(words, monkeypatch)
            if not any(re.search(pattern, command.text) for pattern in PARSED_ONLY):
                run(command, folder, flickr)

    return run_all


@pytest.mark.parametrize("page", [p for p in PAGES if shown_in(p)], ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(page, go_through):
    go_through(shown_in(page))


@pytest.mark.parametrize("group", sorted({verb[0] for verb in verbs()}))
def test_the_examples_of_a_help_do_what_it_says(group, go_through):
    in_pages = {" ".join(each.text.split()) for page in PAGES for each in shown_in(page)}
    of_group = [each for verb in verbs() if verb[0] == group for each in examples_of(verb)]
    go_through([each for each in of_group if each.text not in in_pages])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_stands_in_a_block_without_its_dollar(page):
    wrong = [line for line in shell_lines(page) if re.match(r"\s*(percert|python) ", line)]
    assert [line for line in wrong if not line.startswith("percert: ")] == []


def names_a_verb(words):
    """Not the program itself, its own options, "percert VERB" or a group of verbs."""
    if words[0] == "python":
        return len(words) > 3 and not words[3].isupper()
    what = words[1] if len(words) > 1 else "-"
    a_group = len(words) == 2 and what in {verb[0] for verb in verbs() if len(verb) == 2}
    return not (what.startswith("-") or what.isupper() or a_group)


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=name_of)
def test_what_a_sentence_calls_a_command_is_one(page, monkeypatch):
    for command in mentioned_in(page):
        words = command.words
        if names_a_verb(words):
            arguments = words[4:] if words[0] == "python" else words[2:]
            named = {word.split("=")[0] for word in arguments if word.startswith("-")}
            assert named <= options_of(words, monkeypatch), command


def test_what_is_not_run_is_shown_somewhere():
    shown = [each.text for page in PAGES for each in (*shown_in(page), *mentioned_in(page))]
    shown += [each.text for verb in verbs() for each in examples_of(verb)]
    assert [p for p in PARSED_ONLY if not any(re.search(p, text) for text in shown)] == []


@pytest.mark.parametrize(
    "words", ["compare a.png", "compare a.png b.png --epsilon 4", "index ad x"]
)
def test_a_command_that_is_none_is_noticed(words, monkeypatch):
    with pytest.raises(BaseException, match=r"Missing|No such option|no such verb"):
        parse(Shown("here", f"percert {words}").words, monkeypatch)


def test_an_option_that_a_benchmark_lacks_is_noticed(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parse(["python", "-m", "experiments", "speed.networks", "--no-such-option"], monkeypatch)
    assert "no-such-option" in capsys.readouterr().err
