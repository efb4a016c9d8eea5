"""How a run was made, as a section."""

from percert.reports.page import as_text, how_made, render_page, rerun


def page(record):
    return render_page("t", [how_made(record)])


def test_a_run_says_how_to_make_it_again():
    record = {
        "command": ["/opt/x/percert/__main__.py", "eval", "copies", "--out", "my dir"],
        "seed": 3,
        "device": "cpu",
        "seconds": 1.25,
        "versions": {"torch": "2.1"},
        "commit": "abc",
        "settings": {"metric": "<b>", "k": None},
        "finished": False,
    }
    assert rerun(record) == "percert eval copies --out 'my dir'"
    said = page(record)
    for words in ("percert eval copies", "torch: 2.1", "1.2", "&lt;b&gt;", "not finished"):
        assert words in said


def test_without_a_record_it_says_so():
    assert "no run.json" in page(None)
    assert rerun({}) == ""
    assert rerun({"command": "percert"}) == ""
    assert "To make it again" not in page({"seed": 1})


def test_long_settings_are_cut():
    assert len(as_text("x" * 1000)) == 300
