"""What is built for an index: a description that stands by itself, and all that a user needs."""

import email
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the builder is in the extra test")
REPOSITORY = Path(__file__).resolve().parents[1]
RELATIVE = re.compile(r"\]\((?!https?:|mailto:|#)([^)]*)\)")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked: what pip would put beside other packages."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (built,) = (folder / "dist").iterdir()
    with zipfile.ZipFile(built) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def description(wheel):
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    message = email.message_from_string(metadata.read_text("utf-8"))
    assert message["Description-Content-Type"] == "text/markdown"
    return message.get_payload()


def test_the_larger_network_whose_weights_stay_behind_says_where_they_are(wheel):
    made = subprocess.run(
        [sys.executable, "-c", "import percert; percert.create_metric('lipsim-base')"],
        cwd=wheel,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "its weights are not installed with percert; name the file" in made.stderr


def standalone():
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.standalone


def test_the_description_has_no_link_that_only_a_checkout_can_follow(description):
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert RELATIVE.findall(readme)  # or there is nothing to test
    assert RELATIVE.findall(description) == []
    assert "threat model" in description
    for target in re.findall(r"\]\((https?:[^)]*)\)", readme):
        assert f"]({target})" in description


def test_with_an_address_every_link_leads_to_a_file_there():
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    shown = standalone()(readme, "https://example.org/percert/1.0/")
    assert RELATIVE.findall(shown) == []
    ours = re.findall(r"\]\(https://example\.org/percert/1\.0/([^)#]*)", shown)
    assert len(ours) == len(RELATIVE.findall(readme))
    assert [path for path in ours if not (REPOSITORY / path).exists()] == []


def test_a_picture_without_an_address_leaves_its_words():
    shown = standalone()("![A\ncat](cat.png) and [a dog](dog.md), [home](https://a.b)", None)
    assert shown == "*A\ncat* and a dog, [home](https://a.b)"


def test_the_wheel_carries_every_recipe_and_finds_it_by_its_name(wheel, tmp_path):
    recipes = {path.name for path in (REPOSITORY / "recipes").iterdir()}
    assert {path.name for path in (wheel / "percert" / "recipes").iterdir()} == recipes
    script = (
        "import percert; from percert.training.copies import read_copies_recipe as read;"
        "print(percert.__file__, read('lipsim-tiny').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(wheel / "percert" / "__init__.py"), "lipsim-tiny"]


def test_the_wheel_holds_every_file_of_the_package(wheel):
    def files(folder):
        return {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    tracked = files(REPOSITORY / "src" / "percert")
    assert tracked - files(wheel / "percert") == {"weights/lipsim-base.safetensors"}
