"""What the verbs of ``percert attack`` have in common: run, keep, sum up, and say what failed."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from percert.cli.attack_options import Engine
from percert.cli.command import complain
from percert.cli.output import emit_json, note_left_out, say, show_table, with_left_out
from percert.cli.progress import counting_bar
from percert.evaluation.attack_runs.compare import percent

if TYPE_CHECKING:
    from percert.images import LeftOut
    from percert.reports import AttackSummary
    from percert.runs import AttackPlan, ImageItem, Step
    from percert.runs.tasks import AnyTask

#: Without a terminal, how often a line says how far it is, in seconds.
EVERY = 30.0


def run(
    task: "AnyTask",
    plan: "AttackPlan",
    items: "Sequence[ImageItem]",
    *,
    out: Path,
    settings: Mapping[str, Any],
    device: str,
    engine: Engine,
    address: str | None,
    workers: int | None,
    save: bool,
    as_json: bool,
    left_out: "Sequence[LeftOut]" = (),
) -> None:
    """Attack ``items`` into ``out``, show the outcome, and exit with 1 where something failed."""
    from percert.reports import read_run, summarise_attacks, write_run
    from percert.runs import (
        Tally,
        attack_items,
        check_names,
        keep,
        open_output,
        record_columns,
    )

    check_names(items)
    columns = record_columns(task.columns, list(plan.measures))
    store = open_output(out, columns, settings)
    before = float((read_run(out) or {}).get("seconds") or 0.0)
    began = time.perf_counter()
    tally = Tally()

    def note(finished: bool, **more: Any) -> None:
        write_run(
            out,
            command=["percert", *sys.argv[1:]],
            settings=settings,
            seed=plan.seed,
            device=device,
            seconds=before + time.perf_counter() - began,
            finished=finished,
            bad=_listed(tally.bad),
            failed=_listed(tally.failed),
            **more,
        )

    done = {(row["image"], row["attack"]) for row in store.rows()}
    note(finished=False)
    progress = _Progress(len(items) * len(plan.attacks), plan, done, items)
    if engine is Engine.RAY:
        from percert.runs.ray_cluster import attack_items_on_ray

        outcomes = attack_items_on_ray(task, plan, items, done, address=address, workers=workers)
    else:
        outcomes = attack_items(task, plan, items, done, progress.watching)
    order = {name: i for i, name in enumerate(plan.attacks)}
    place = {item.name: i for i, item in enumerate(items)}
    try:
        with progress:
            for outcome in keep(outcomes, store, tally, images=save):
                progress.advance(outcome)
    finally:
        rows = store.merge(
            lambda row: (order.get(row["attack"], len(order)), place.get(row["image"], len(place)))
        )
        answer = {"images": len(items), "clean_accuracy": _accuracy(rows, task.kind)}
        note(finished=not tally.failed and sys.exc_info()[0] is None, **answer)
    _report(out)
    distances = ["l1", "l2", "linf", *plan.measures]
    if "moved" in columns:
        distances += ["moved", "distance"]
    endless = task.kind == "embedding" and settings.get("beyond") is None
    over = "attacked" if endless else "success_8bit"
    summaries = summarise_attacks(rows, distances, over=over)
    if as_json:
        emit_json(
            {
                "out": str(out),
                **answer,
                "labels_from": settings.get("labels_from"),
                "device": device,
                "seconds": time.perf_counter() - began,
                "attacks": [asdict(summary) for summary in summaries],
                "bad": _listed(tally.bad),
                "failed": _listed(tally.failed),
                **with_left_out(left_out),
            }
        )
    else:
        _show(
            summaries, distances, out, "are attacked" if endless else "succeed as files of 8 bits"
        )
    note_left_out(left_out)
    _complain(tally.bad, tally.failed, out)
    if tally.bad or tally.failed:
        raise typer.Exit(1)


def _report(out: Path) -> None:
    """The run's page; an attack that went well does not fail for want of what draws it."""
    from percert.evaluation.attack_runs.pages import write_attack_report

    try:
        write_attack_report(out)
    except ValueError as error:
        complain(f"warning: no report.html: {error}")


def _accuracy(rows: Sequence[Mapping[str, Any]], kind: str) -> float | None:
    """The share of the images that were right before anything was done to them."""
    if kind == "embedding":
        return None
    right = {row["image"]: row["clean_prediction"] == row["label"] for row in rows}
    return sum(right.values()) / len(right) if right else None


def _listed(pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "reason": reason} for name, reason in pairs]


def _complain(bad: Sequence[tuple[str, str]], failed: Sequence[tuple[str, str]], out: Path) -> None:
    if bad:
        complain(f"{len(bad)} images could not be read or judged:")
    for name, reason in bad:
        complain(f"  {name}: {reason}")
    for name, reason in failed:
        complain(f"attack {name} gave up: {reason} (details in {out / 'errors.log'})")


def _show(
    summaries: "Sequence[AttackSummary]", distances: Sequence[str], out: Path, which: str
) -> None:
    from percert.reports.attack_summary import rounding_words

    if not summaries:
        say("Nothing was attacked.")
        return
    show_table(
        [
            ("attack", "left"),
            ("attacked", "right"),
            ("success", "right"),
            ("8-bit", "right"),
            *((name, "right") for name in distances),
            ("s/image", "right"),
            ("calls", "right"),
        ],
        [
            [
                summary.attack,
                f"{summary.attacked} of {summary.images}",
                percent(summary.success),
                percent(summary.success_8bit),
                *(_number(summary.median[name]) for name in distances),
                _number(summary.seconds),
                _number(summary.model_calls),
            ]
            for summary in summaries
        ],
    )
    say("")
    for summary in summaries:
        shares = summary.outside_8bit or 0.0, summary.undone_8bit or 0.0
        if said := rounding_words(summary.attack, summary.attacked, *shares):
            say(f"{said}.")
    say(f"Distances are medians over the images that {which}.")
    say(f"Images, records.parquet and report.html are in {out}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


class _Progress:
    """A bar on stderr for people, a line now and then for log files."""

    def __init__(
        self,
        total: int,
        plan: "AttackPlan",
        done: set[tuple[str, str]],
        items: "Sequence[ImageItem]",
    ) -> None:
        already = sum((item.name, attack) in done for item in items for attack in plan.attacks)
        self.count, self.total, self.already = already, total, already
        self.began = self.said = time.perf_counter()
        self.bar = counting_bar()
        self.task = self.bar.add_task("attacking", total=total, completed=already)
        if already:
            complain(f"{already} of {total} were there already, going on")

    def __enter__(self) -> "_Progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def watching(self, attack: str, done: int, total: int, active: int) -> None:
        self.bar.update(self.task, description=f"{attack[:30]} {done}/{total}, {active} left")

    def advance(self, outcome: "Step") -> None:
        self.count += len(outcome.rows)
        self.bar.update(self.task, completed=self.count)
        now = time.perf_counter()
        if self.bar.disable and now - self.said > EVERY:
            self.said = now
            rate = (self.count - self.already) / (now - self.began)
            left = f"{(self.total - self.count) / rate:.0f} s left" if rate else "no estimate yet"
            complain(f"{self.count} of {self.total} attacked, {left}")
