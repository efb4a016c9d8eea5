"""Every verb with every path that cannot work: one clear line, exit status 1 or 2, no traceback.

The table has one small working command a verb, its paths marked by what they are for. Each path in
turn is missing, empty, cut off, a folder for a file or a file for a folder, or cannot be written.
"""

import os
import shutil
from pathlib import Path

import pytest
from tests.docs.world import build_world
from typer.testing import CliRunner

from percert.cli import app

for package in ("pyarrow", "matplotlib", "jinja2", "lancedb", "lightning_fabric", "sklearn"):
    pytest.importorskip(package, reason="verbs of every extra")
for package in ("statsmodels", "fairlearn", "cv2"):
    pytest.importorskip(package, reason="verbs of every extra")

#: Commands that work. file: and many: (a file among several, passed over where it is bad) are read,
#: dir: is a folder that is read; store:, run: and metric: are folders that percert made; out: is a
#: folder and page: a file that is written.
COMMANDS = [
    "compare file:photo.jpg many:copy.png --metric thumbnail",
    "compare photo.jpg dir:folder --metric thumbnail",
    "compare photo.jpg copy.png --metric metric:my-metric",
    "compare photo.jpg copy.png --metric lipsim-small --checkpoint file:theta0.safetensors",
    "judge file:photo.jpg file:left.png file:right.png --metric thumbnail",
    "judge photo.jpg left.png right.png --metric metric:my-metric",
    "attack classify --images dir:photos --labels file:labels.csv --model squeezenet1_0 --weights "
    "file:squeezenet.safetensors --attack ascent:steps=1 --limit 1 --out out:o",
    "attack classify --images photos --labels labels.csv --model file:card.toml "
    "--attack ascent:steps=1 --limit 1 --out o",
    "attack classify --images file:train.parquet --model percert.models.small_resnet:"
    "classes10_width16 --weights theta0.safetensors --attack ascent:steps=1 --limit 1 --out o",
    "attack metric --metric thumbnail --triplets file:triplets.csv --attack ascent:steps=1 "
    "--out out:o",
    "attack metric --metric metric:my-metric --triplets triplets.csv --attack ascent:steps=1 "
    "--out o",
    "eval attacks run:out/first --images dir:photos --pictures 1 --out out:o",
    "eval defences run:out/first --model squeezenet1_0 --weights file:squeezenet.safetensors "
    "--images dir:photos --defence bits-4 --out out:o",
    "eval transfer run:out/first --model file:card.toml --images dir:photos --out out:o",
    "eval saliency run:out/first --saliency spectral-residual --images dir:photos --pictures 0 "
    "--out out:o",
    "eval copies dir:photos --distractors dir:others --metric thumbnail --edits mirror --eps 4 "
    "--out out:o",
    "eval copies photos --metric metric:my-metric --edits mirror --queries 1 --out o",
    "eval copies photos --metric thumbnail --rival features=file:squeezenet.safetensors "
    "--edits mirror --queries 1 --out o",
    "eval retrieval dir:photos --metric thumbnail --queries 1 --attack pgd:norm=l2,steps=1 "
    "--out out:o",
    "eval stability dir:photos --metric thumbnail --l2 1 --steps 1 --size 24 --out out:o",
    "eval twoafc dir:nights --metric thumbnail --size 24 --out out:o",
    "eval twoafc file:triplets.csv --metric thumbnail --size 24 --out o",
    "eval twoafc nights --metric metric:my-metric --limit 1 --out o",
    "index add many:photo.jpg --store store:photos.store",
    "index add dir:photos --store new.store --metric thumbnail",
    "index add many:train.parquet --store new.store --metric thumbnail",
    "index add photo.jpg --store out:new.store --metric thumbnail",
    "index add photo.jpg --store new.store --metric metric:my-metric",
    "index search many:photo.jpg --store store:photos.store",
    "index search photo.jpg --store photos.store --metric metric:my-metric",
    "index copies many:photo.jpg --store store:photos.store --threshold 0.1",
    "index copies photo.jpg --store store:photos.store --wrong 1e-3",
    "index duplicates --store store:photos.store --threshold 0.1 --out out:o",
    "index duplicates --store store:photos.store --wrong 1e-3",
    "index duplicates --store photos.store --threshold 0.5 --report page:o.html",
    "index duplicates --store photos.store --threshold 0.5 --plan page:o.json --do move --to o",
    "index apply plan:plan.json",
    "index undo plan:plan.json",
    "index purge plan:plan.json",
    "index export --store store:photos.store --out page:o.parquet",
    "index add many:catalog.parquet --store new.store --metric thumbnail --paths-below photos "
    "--ids sku",
    "index info --store store:photos.store",
    "index verify --store store:photos.store --again 3",
    "index remove photos --store store:photos.store",
    "index prune --store store:photos.store",
    "audit network metric:my-metric",
    "audit groups file:predictions.csv --attributes file:countries.csv --attribute log_gdp "
    "--draws 20 --min-size 1 --out out:o",
    "audit groups file:predictions.csv --before file:start.csv --draws 0 --min-size 1",
    "audit groups file:ours.parquet --against file:pgd.parquet --pretrained file:start.csv "
    "--attributes countries.csv --draws 20 --min-size 1",
    "audit groups --model file:card.toml --images dir:photos --groups file:photos.csv "
    "--attributes countries.csv --draws 20 --min-size 1 --out out:o",
    "report run:out/first --out page:side.html",
    "export metric:my-metric --out out:o",
    "train adversarial-dataset --images file:train.parquet --rounds 0 --limit 10 --out out:o",
    "train adversarial-dataset --images train.parquet --rounds 1 --limit 10 --weights "
    "file:theta0.safetensors --out o",
    "train dro run:clean --models 1 --steps 1 --weights file:theta0.safetensors --out out:o",
    "train distill file:tiny-distill.toml --data dir:. --no-tensorboard --out out:o",
    "data geo file:fall11_urls.txt --gdp file:API_NY.GDP.PCAP.CD_DS2_en_csv_v2.csv --out out:o",
]
#: How each kind of path is damaged.
DAMAGES = {
    "file": ("missing", "empty", "cut off", "folder"),
    "many": ("missing", "empty", "cut off", "folder"),
    "dir": ("missing", "empty folder", "file"),
    "store": ("missing", "file", "other folder", "emptied", "cut off", "cut manifest", "no files"),
    "run": ("missing", "empty folder", "file", "cut off", "cut run"),
    "metric": ("missing", "empty folder", "file", "cut off", "cut run"),
    "out": ("file", "below a file", "unwritable"),
    "plan": ("missing", "empty", "cut off", "folder"),
    "page": ("folder", "below a file", "unwritable"),
}
#: What may be done without an error, by what the case's name holds: an emptied store is sound, and
#: found to hold nothing; a store is made where there is none; a table that is cut off at a line is
#: shorter; what a store holds is written beside the rows.
MAY_SUCCEED = (
    "emptied]",
    "index add many:photo.jpg --store store:photos.store [store:photos.store missing]",
    "[file:labels.csv cut off]",
    "index info --store store:photos.store [store:photos.store cut off]",
)


def marked(words):
    """The places of marked paths, and the words without the marks."""
    plain, places = [], []
    for word in words:
        for kind in DAMAGES:
            before, mark, path = word.rpartition(f"{kind}:")
            if mark and (not before or before.endswith("=")):
                places.append((len(plain), kind, before, path))
                word = before + path
                break
        plain.append(word)
    return plain, places


CASES = [
    pytest.param(command, place, damage, id=f"{command} [{kind}:{path} {damage}]")
    for command in COMMANDS
    for place, kind, _, path in marked(command.split())[1]
    for damage in DAMAGES[kind]
]


def invoke(words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = build_world(tmp_path_factory.mktemp("world"))
    made = (
        "index add photos --store photos.store --views whole --metric thumbnail",
        "index duplicates --store photos.store --threshold 0.5 --plan plan.json --do delete",
        "attack classify --images photos --labels labels.csv --limit 2 --model squeezenet1_0 "
        "--weights squeezenet.safetensors --attack ascent:steps=3 --out out/first",
        "export lipsim-tiny --out my-metric",
        "train adversarial-dataset --images train.parquet --rounds 0 --limit 10 --out clean",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in made:
            done = invoke(command.split())
            assert done.exit_code == 0, f"{command}\n{done.output}{done.exception!r}"
    return folder


def damaged(path: Path, damage: str, to: Path) -> Path:
    """Something in ``to`` that stands for ``path`` and cannot be used."""
    bad = to / f"bad{path.suffix}"
    if damage == "empty":
        bad.touch()
    elif damage == "cut off" and path.is_file():
        bad.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage in ("folder", "empty folder"):
        bad.mkdir()
    elif damage == "file":
        bad.write_text("a text\n")
    elif damage == "other folder":
        bad.mkdir()
        (bad / "note.txt").touch()
    elif damage == "below a file":
        (to / "note.txt").write_text("a text\n")
        return to / "note.txt" / "inside"
    elif damage == "unwritable":
        return Path("/proc/percert/inside")
    elif damage != "missing":
        shutil.copytree(path, bad)
        cut(bad, damage)
    return bad


def cut(folder: Path, damage: str) -> None:
    """Cut the files of a store or a run in half."""
    if damage == "emptied":
        from percert.search import open_store

        store = open_store(folder)
        store.remove(store.rows(["id"])["id"].to_pylist())
        return
    if damage == "no files":
        shutil.rmtree(folder / "files.lance")
        return
    wanted = {
        "cut off": (".lance", ".parquet", ".safetensors"),
        "cut manifest": (".manifest",),
        "cut run": (".json", ".toml"),
    }[damage]
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix in wanted]
    assert found, f"nothing to cut in {folder}"
    for path in found:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(("command", "place", "damage"), CASES)
def test_a_path_that_cannot_work_is_one_line(
    command, place, damage, world, tmp_path, monkeypatch, request
):
    words, places = marked(command.split())
    _, kind, before, path = next(entry for entry in places if entry[0] == place)
    bad = damaged(world / path, damage, tmp_path)
    words[place] = f"{before}{bad}"
    for other in ("o", "new.store", "side.html", "o.html", "o.json", "o.parquet"):
        words = [str(tmp_path / other) if word == other else word for word in words]
    monkeypatch.chdir(world)
    present = sorted(os.listdir(tmp_path))
    result = invoke(words)
    said = f"$ percert {' '.join(words)}\n{result.stdout}{result.stderr}{result.exception!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit), said
    assert "Traceback" not in said
    may_succeed = any(name in request.node.name for name in MAY_SUCCEED)
    allowed = (0, 1) if may_succeed else (1, 2)
    assert result.exit_code in allowed, said
    if result.exit_code == 0:
        return
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    if result.exit_code == 1:
        assert lines, said
        assert len(lines) <= 3, said
        assert all(len(line) < 700 for line in lines), said
        assert "Errno" not in result.stderr, said
    if kind in ("out", "page"):
        assert sorted(os.listdir(tmp_path)) == present, said
        if damage == "file":
            assert bad.read_text() == "a text\n"


def test_the_commands_of_the_table_work(world, tmp_path, monkeypatch):
    """Undamaged, each does: what fails above fails for its path."""
    monkeypatch.chdir(world)
    for number, command in enumerate(COMMANDS):
        if "lipsim-small" in command or "data geo" in command or "photos.store --metric" in command:
            continue
        words, _ = marked(command.split())
        here = tmp_path / str(number)
        here.mkdir()
        if "photos.store" in words:
            words[words.index("photos.store")] = str(here / "photos.store")
            shutil.copytree(world / "photos.store", here / "photos.store")
        for other in ("o", "new.store", "side.html", "o.html", "o.json", "o.parquet"):
            words = [str(here / other) if word == other else word for word in words]
        result = invoke(words)
        assert result.exit_code == 0, f"{words}\n{result.output}{result.exception!r}"


def test_a_device_that_fails_is_one_line(world, monkeypatch):
    """What torch raises for a card that is too old or too small, from any verb."""
    for said, told in (
        ("CUDA error: no kernel image is available\nCompile with ...", "the device cannot do this"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee ...", "not enough memory on the"),
    ):

        def fail(*_, message=said, **__):
            raise RuntimeError(message)

        monkeypatch.setattr("percert.runs.compare.create_metric", fail)
        monkeypatch.chdir(world)
        result = invoke(["compare", "photo.jpg", "copy.png", "--metric", "thumbnail"])
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert told in line
