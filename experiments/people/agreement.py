"""The published table of metrics and people: every metric whose weights can be had, in one run.

    python -m experiments people.agreement --data DATA --weights SQUEEZENET --runs out/people \\
        --out docs/results

DATA/people holds the two studies: pairs that 35 observers saw for at most 5 s (Goepfert et al.
2019), and triplets of materials with votes (Lagunas et al. 2019), of which the first --triplets are
taken, and certified by what proves something. ``--model NAME=FOLDER``, repeatable, sets a trained
model beside that. A run that was stopped goes on, and a metric that is new in the list is added.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.conditions import conditions, write_result
from experiments.people.certified import PROVEN, certified_votes, votes_table
from percert.data.triplets import Triplet
from percert.evaluation.people import PeopleSettings, find_answers, run_people
from percert.evaluation.people.agreement import Estimate
from percert.evaluation.people.report import interval
from percert.metrics.catalog import list_metrics, metric_card
from percert.registry import name_and_file
from percert.reports.table import Column, Table, finite

#: The same as another, of a package for newer Pythons than the rest (sscd), or many passes through
#: a network that is here by itself (e-lpips, swd).
LEFT_OUT = ("thumbnail-8", "lipsim-tiny-uncentred", "sscd", "e-lpips", "swd")
#: The slowest: on the triplets, many pairs each, they would take hours.
SLOW = (
    *("st-lpips-vgg", "st-lpips-alex", "fsim", "features"),
    *("efficientnet-lite0-layers", "efficientnet-lite0-pooled", "efficientnet-lite1-layers"),
    *("efficientnet-lite1-pooled", "efficientnet-lite2-layers"),
)
STUDIES = {
    "adversarials": ("people/adversarials/pairs.csv", ("changed", "all", "bim", "bim-masked")),
    "materials": ("people/materials/triplets.csv", ("all",)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--triplets", type=int, default=400)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"conditions": finite(conditions(seed=0)), "studies": {}}
    for study, (place, _) in STUDIES.items():
        triplets = study == "materials"
        answers = find_answers(options.data / place, limit=options.triplets if triplets else None)
        metrics = {
            name: str(options.weights) if metric_card(name).checkpoint == "required" else None
            for name in metrics_to_be_had()
            if not (triplets and name in SLOW)
        }
        asked = PeopleSettings(source=place, answers=answers, draws=options.draws)
        run = run_people(asked, metrics, options.runs / study, _say)
        kept = ("kind", "answers", "agreement", "ceilings", "weights")
        result["studies"][study] = {name: run.answer[name] for name in kept}
        if triplets:
            models = {name: file or name for name, file in map(name_and_file, options.model)}
            votes = [one for one in answers.judged if isinstance(one, Triplet)]
            named = {name: name for name in PROVEN} | models
            result["certified"] = certified_votes(votes, named, place, options.runs / "votes", _say)
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / "people.json", result)
    page = report(result)
    (options.out / "people.md").write_text(page)
    print(page)


def metrics_to_be_had() -> list[str]:
    """Every metric of the catalog that needs no weights, or whose weights the extras bring.

    Of those that take a file that is SqueezeNet's features; of several whole networks one each.
    """
    return [
        name
        for name in list_metrics()
        if name not in LEFT_OUT
        and (name == "features" or metric_card(name).checkpoint not in ("required", "fetched"))
    ]


def report(result: Mapping[str, Any]) -> str:
    """The page: of each study the tables of its scopes, metrics in the order of their agreement;
    then the votes as they are certified.
    """
    parts = ["# Metrics and people\n\n", ABOUT]
    for study, (_, scopes) in STUDIES.items():
        found = result["studies"][study]
        parts.append(f"\n## {HEADS[study]}\n\n{LEADS[study]}\n")
        for scope in scopes:
            rows = [one for one in found["agreement"] if one["scope"] == scope]
            first = next(iter(rows[0]["found"]))
            rows.sort(key=lambda one: -(one["found"][first]["value"] or 0))
            columns = [
                Column("metric", lambda one: f"`{one['metric']}`"),
                *(_column(name) for name in rows[0]["found"] if name != "RMSE"),
            ]
            what = "triplets" if found["kind"] == "triplets" else "pairs"
            counts = f"{rows[0]['answers']} {what} of {rows[0]['pictures']} pictures"
            parts.append(f"\n{SCOPES[scope]}: {counts}.\n\n{Table.of(rows, columns).markdown()}")
            parts += [
                f"\nThe observers' disagreement leaves {one['value']:.3f} to be reached of "
                f"{one['statistic']}.\n"
                for one in found["ceilings"]
                if one["scope"] == scope
            ]
    if result["certified"]:
        votes = votes_table(result["certified"]).markdown()
        parts.append(f"\n## Votes, certified\n\n{CERTIFIED}\n\n{votes}")
    return "".join(parts)


def _column(name: str) -> Column[Mapping[str, Any]]:
    return Column(name, lambda one: Estimate(**one["found"][name]), interval)


def _say(what: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        print(f"{what}: {done} of {total}", flush=True)


HEADS = {"adversarials": "Seen or not: adversarial pairs", "materials": "Closer: materials"}
SCOPES = {
    "changed": "Pairs that differ",
    "all": "All",
    "bim": "Of these the plain attack",
    "bim-masked": "The attack masked to textured places",
}
LEADS = {
    "adversarials": """40 photographs of 299 px, each shown beside itself, beside an adversarial
version (iterated FGSM) and beside one whose change was masked; 35 observers on the web, at most 5 s
a pair, "same" or "different" (Goepfert et al. 2019). `seen` was fitted on these very answers: on
photographs that were not, it has [less](seen.md).""",
    "materials": """Pictures of 100 materials, triplets with votes on which of two looks more like
the reference (Lagunas et al. 2019), the first of 22,801; the slowest metrics are left out. The
materials' own network, trained on such votes, agrees with 82 % of its test triplets.""",
}
CERTIFIED = """The same triplets of materials. Shares of the votes in percent, as LipSim's tables
have them: that agree with the metric's choice, and that do while the reference moves by any change
of that l2 length in the pictures' own pixels; an answer that may turn counts for the smaller share.
In brackets what the paper's Eq. 8 proves of the same
network, where it proves anything. `authors` and `ours` are the two recipes at a small scale, on the
same images for the same passes ([the ablation](lipsim-ablation.md)): neither has seen a vote."""
ABOUT = """Written by `python -m experiments people.agreement`. All metrics of percert that need no
weights or whose weights can be had, but `e-lpips` and `swd`, which pass an image many times through
a network that is here by itself; on what people said. In parentheses the 95 % interval of a
bootstrap over pictures. What the columns are:
[hold metrics to what people see](../how-to/evaluate-by-people.md#what-it-says).
"""

if __name__ == "__main__":
    main()
