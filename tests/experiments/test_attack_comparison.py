"""The published table of attacks: means of each one's successes, ratios of common ones."""

from experiments.attacks.comparison import BASELINE, DISTANCES, TUNED, comparisons, report


def row(attack, image, value):
    return {
        "attack": attack,
        "image": image,
        "attacked": True,
        "success": True,
        "success_8bit": value is not None,
        "seconds": 1.0,
        "cpu_seconds": 1.0 if attack == BASELINE else 3.0,
        "model_calls": 8.0,
        **dict.fromkeys(DISTANCES, value),
    }


def test_the_page_has_means_and_ratios_of_every_group_that_is_there():
    rows = [
        row(BASELINE, "a", 2.0),
        row(BASELINE, "b", 6.0),
        row("mine", "a", 1.0),
        row("mine", "b", None),
    ]
    groups = {
        "tuned": comparisons(rows, ["a"]),
        "rest": comparisons(rows, []),
        "all": comparisons(rows, ["a", "b"]),
    }
    page = report(groups)
    assert "## All photographs" in page
    assert f"## The first {TUNED}" in page
    assert "## The rest" not in page
    many = len(DISTANCES)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    assert ["`ascent`", "2", "1.00", *["4"] * many, "1", "8"] in cells
    assert ["`mine`", "2", "0.50", *["1"] * many, "3", "8"] in cells
    assert ["`mine`", "1", *["0.50"] * many, "3.00"] in cells  # on a, not 1 / 4
