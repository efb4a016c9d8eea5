"""Tables of the page say under each heading what was found."""

from tests.reports.tables import said

from percert.app.judge import Standing
from percert.app.templates import distances_table, environment, plain, standings_table
from percert.metrics.catalog import typical_distances


def test_how_far_the_answer_to_a_triplet_stands():
    standings = [Standing("reference", 1.2345, 0.5678, ""), Standing("all", None, None, "")]
    assert said(standings_table(standings)) == [
        {"What may move": "the reference", "Proven": "1.23", "LipSim paper": "0.567"},
        {"What may move": "all three", "Proven": "any", "LipSim paper": "-"},
    ]


def test_how_far_an_attack_moved_an_image():
    usual = typical_distances("lipsim-tiny")
    found = {
        "psnr": 41.25,
        "distances": [
            {"metric": "lipsim-tiny", "value": 0.0123, "why_not": None},
            {"metric": "mse", "value": None, "why_not": "too large"},
        ],
    }
    first, second, third = said(distances_table(found))
    assert (first["Distance"], first["This attack"]) == ("PSNR", "41.2 dB")
    assert first["A JPEG file"] == first["Unrelated photographs"] == "-"
    assert second == {
        "Distance": "lipsim-tiny",
        "This attack": "0.0123",
        "A JPEG file": plain(usual.jpeg),
        "Unrelated photographs": f"{plain(usual.unrelated_low)} to {plain(usual.unrelated_high)}",
    }
    assert (third["Distance"], third["This attack"]) == ("mean squared error", "too large")


def test_the_rows_of_a_wide_table_are_named_by_their_first_cell():
    table = standings_table([Standing("candidates", 2.0, 1.0, "")])
    page = environment().get_template("wide_table.html").render(table=table, label="<b>")
    assert '<th scope="row" class="left">both candidates</th>' in page
    assert '<td class="right">2.00</td>' in page
    assert 'aria-label="&lt;b&gt;"' in page
