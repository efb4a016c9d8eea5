"""The page of duplicates: every group's pictures in one file, the one to keep first."""

import base64
import io
import re

import pytest
import torch
from PIL import Image

from percert.images import save_image
from percert.search.deduplicate import page
from percert.search.deduplicate.files import StoredFile
from percert.search.deduplicate.groups import FileCopy, FileGroup, FileGroups
from percert.search.deduplicate.page import write_duplicates_page
from percert.search.query.results import Duplicates
from percert.search.query.rule import Rule

pytest.importorskip("jinja2")
FOUND = Duplicates(Rule(0.3, wrong=1e-4), (), (), 3, "lipsim-tiny", "sscd")


@pytest.fixture
def groups(tmp_path):
    def file(name, color, size=(40, 600)):
        picture = torch.tensor(color)[:, None, None].expand(3, *size)
        save_image(picture, tmp_path / name)
        return StoredFile(str(tmp_path / name), name, 2048, 0, *size)

    red = file("keep <b>.png", (1.0, 0.0, 0.0))
    copies = (
        FileCopy(file("twin.png", (0.0, 1.0, 0.0)), "identical", 0.0, 3.0),
        FileCopy(file("near.png", (0.0, 0.0, 1.0), (30, 20)), "certified", 0.12345, 2.5678),
        FileCopy(file("found.png", (1.0, 1.0, 0.0)), "found", 0.4, None),
    )
    return FileGroups((FileGroup(red, copies),), (("/elsewhere/\x1b.png", "is gone"),))


def pictures_of(html):
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def test_pictures_stand_side_by_side_with_what_is_known(tmp_path, groups):
    write_duplicates_page(tmp_path / "page.html", groups, FOUND)
    html = (tmp_path / "page.html").read_text("utf-8")
    shown = pictures_of(html)
    centres = [one.getpixel((one.width // 2, one.height // 2)) for one in shown]
    colors = [tuple(round(value / 255) for value in pixel) for pixel in centres]
    assert colors == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)]
    assert [one.size for one in shown] == [(256, 17), (256, 17), (20, 30), (256, 17)]
    captions = [
        re.sub("<.*?>", "|", one) for one in re.findall("<figcaption>.*</figcaption>", html)
    ]
    kinds = [one.split("|")[2] for one in captions]
    assert kinds == ["keep", "identical", "certified", "found"]
    assert "keep &lt;b&gt;.png" in captions[0]
    assert "600 x 40, 2.0 KiB" in captions[0]
    assert "the same bytes" in captions[1]
    assert "distance 0.1235, proven for l2 below 2.56" in captions[2]  # rounded down
    assert "distance 0.4000, without proof" in captions[3]
    assert "1 in 10,000 gets an answer" in html
    assert "sscd, which proves nothing" in html
    assert "/elsewhere/\\x1b.png" in html
    assert not re.search(r'<script|(?:src|href)="(?!data:|#)', html)


def test_what_cannot_be_shown_is_named_all_the_same(tmp_path, groups):
    (tmp_path / "near.png").write_text("no image")
    (tmp_path / "found.png").unlink()
    write_duplicates_page(tmp_path / "page.html", groups, FOUND)
    html = (tmp_path / "page.html").read_text("utf-8")
    assert len(pictures_of(html)) == 2
    assert html.count("<figcaption>") == 4


def test_a_page_of_very_many_is_cut_off_and_says_so(tmp_path, groups, monkeypatch):
    monkeypatch.setattr(page, "MOST_GROUPS", 2)
    monkeypatch.setattr(page, "MOST_PICTURES", 3)
    many = FileGroups(groups.groups * 5, ())
    write_duplicates_page(tmp_path / "page.html", many, FOUND)
    html = (tmp_path / "page.html").read_text("utf-8")
    assert len(pictures_of(html)) == 6
    assert "And 3 more groups" in html
    assert "3 copies, 1 of them not shown" in html
