"""The page that reports are made of."""

import pytest

from percert.reports.group_plots import interval_bars, name_dots, scatter_with_line
from percert.reports.page import Figure, Paragraph, Points, Section, Table, render_page, write_page
from percert.reports.plots import figure_png, new_figure, share_bars

PNG = b"\x89PNG\r\n\x1a\n"


def test_what_goes_in_is_text():
    evil = "<script>alert(1)</script>\" onload='x'"
    page = render_page(
        evil,
        [
            Section(
                evil,
                (
                    Paragraph(evil),
                    Table(((evil, "left"),), ((evil,),), evil),
                    Figure(PNG, evil, evil),
                ),
            )
        ],
        lead=evil,
        made=evil,
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 11
    assert "' onload" not in page.replace("&#39;", "")


def test_a_table_keeps_its_columns_apart():
    page = render_page(
        "t", [Section("s", (Table((("a", "left"), ("b", "right")), (("1", "2"),)),))]
    )
    assert '<td class="left">1</td>' in page
    assert '<td class="right">2</td>' in page
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table((("a", "left"), ("b", "right")), (("1",),))


def test_a_figure_is_a_png():
    with pytest.raises(ValueError, match="PNG"):
        Figure(b"GIF89a", "a", "b")


def test_the_file_is_whole_or_not_there(tmp_path, monkeypatch):
    write_page(tmp_path / "new" / "page.html", "first", [])
    assert "first" in (tmp_path / "new" / "page.html").read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_page(tmp_path / "new" / "page.html", "second", [])
    assert "first" in (tmp_path / "new" / "page.html").read_text()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_figures_are_pngs_and_take_any_name():
    import numpy as np

    figure, _ = new_figure()
    assert figure_png(figure).startswith(PNG)
    one = np.array([1.0, 2.0, 3.0])
    png = scatter_with_line(
        one,
        one,
        one * 0 + 5,
        (0, 1),
        x_label="$x",
        y_label="y",
        size_label="n",
        names=["$a_", "", ""],
    )
    assert png.startswith(PNG)
    assert share_bars({"$": 5, "b": 0.001, "c": 0.002}).startswith(PNG)
    with pytest.raises(ValueError, match="positive sum"):
        share_bars({"a": 0})


def test_names_cover_neither_each_other_nor_dots_nor_the_edge():
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.3, 12), rng.normal(0, 0.3, 12)
    names = [f"a long name, {place}" for place in range(12)]
    figure, axis = new_figure()
    axis.plot(x, y, "o")
    boxes = name_dots(figure, axis, x, y, names)
    assert len(boxes) == 12
    dots = axis.transData.transform(np.column_stack([x, y]))
    inside = axis.get_window_extent()
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])
        assert not any(box.contains(*dot) for dot in dots)
        assert inside.contains(box.x0, box.y0)
        assert inside.contains(box.x1, box.y1)
        drawn = axis.texts[place].get_window_extent()  # where it was said to be
        assert (drawn.x0, drawn.y0) == pytest.approx((box.x0, box.y0), abs=1)


def test_bars_with_intervals_of_many_groups_leave_the_middle_out():
    import numpy as np

    values = np.linspace(0.2, 0.9, 70)
    png = interval_bars(
        [f"g{n}" for n in range(70)], values, values - 0.1, values + 0.05, label="a", middle=0.5
    )
    assert png.startswith(PNG)


def test_points_and_sheets_are_written():
    page = render_page("t", [Section("s", (Points("To do", ("one", "two <b>")),), sheet=True)])
    assert "<li>two &lt;b&gt;</li>" in page
    assert 'class="sheet"' in page
