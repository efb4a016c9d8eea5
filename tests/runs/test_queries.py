"""Image files asked of a store: in order, several in one pass, each at its own length of eps."""

import torch

from percert.images import save_image
from percert.reports.budgets import parse_budget
from percert.runs.queries import TOGETHER, ask_files


def test_each_file_is_asked_once_in_order_and_a_bad_one_stops_none(tmp_path):
    sizes = {"a": (20, 30), "b": (20, 30), "c": (10, 10), "e": (20, 30)}
    for name, size in sizes.items():
        save_image(torch.rand(3, *size), tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(b"no picture")
    passes, steps = [], []

    def ask(images, length, names):
        passes.append((len(images), length))
        return [(name, tuple(image.shape)) for name, image in zip(names, images, strict=True)]

    eps = parse_budget("linf:1/255")
    found = ask_files([tmp_path], ask, eps, progress=lambda *step: steps.append(step))
    assert found.answers == [
        (str(tmp_path / f"{name}.png"), (3, *size)) for name, size in sizes.items()
    ]
    assert [name for name, _ in found.bad] == [str(tmp_path / "d.png")]
    lengths = [eps.length(size) for size in ((20, 30), (10, 10), (20, 30))]
    assert passes == list(zip((2, 1, 1), lengths, strict=True))
    assert steps == [("searching", done, 5) for done in range(5)]


def test_no_pass_has_more_than_so_many(tmp_path):
    save_image(torch.rand(3, 4, 4), tmp_path / "0.png")
    for place in range(1, TOGETHER + 3):
        (tmp_path / f"{place}.png").write_bytes((tmp_path / "0.png").read_bytes())
    passes = []
    ask_files([tmp_path], lambda images, length, names: passes.append(len(images)) or names)
    assert passes == [TOGETHER, 3]
