"""``python -m experiments``: the list, and running one by its name."""

import sys

import pytest

from experiments import __main__ as experiments


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["experiments", *words])
    experiments.main()


def test_everything_that_runs_is_listed_with_what_it_measures(monkeypatch, capsys):
    run(monkeypatch)
    said = capsys.readouterr().out
    for name in ("papers", "tables", "usual_distances", "copies.edits", "search.kills"):
        assert f"\n{name} " in said
    found = experiments.experiments()
    assert all(found.values())
    assert "conditions" not in found  # there is nothing to run in it


def test_an_experiment_takes_its_own_options(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "attacks.closed_form", "--help")
    assert not end.value.code
    assert "--out" in capsys.readouterr().out


def test_what_is_none_is_told_with_the_nearest(monkeypatch):
    with pytest.raises(SystemExit, match=r"did you mean 'copies.edits'"):
        run(monkeypatch, "copies.edit")
