"""What the verbs of ``percert attack`` have in common: run, and show what came of it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from percert.cli.command import complain, option_names
from percert.cli.output import show_result
from percert.cli.progress import counting_bar

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.run import AttackRecipe, ClassifierSet, MetricSet

#: Without a terminal, how often a line says how far it is, in seconds.
EVERY = 30.0


def run(
    verb: Callable[..., object],
    attacked: "ClassifierSet | MetricSet",
    recipe: "AttackRecipe",
    out: Path,
    as_json: bool,
) -> None:
    """Attack a set into ``out``, show the outcome, and exit with 1 where something failed."""
    from percert.evaluation.attack_runs.run import attack_set

    names = option_names(verb)
    with _Progress() as bar:
        result = attack_set(
            attacked,
            recipe,
            out,
            command=["percert", *sys.argv[1:]],
            progress=bar.show,
            watching=bar.watching,
            warn=lambda wording: complain(f"warning: {wording.said(names)}"),
        )
    show_result(result, as_json=as_json, what="images could not be read or judged")


class _Progress:
    """A bar on stderr for people, a line now and then for log files."""

    def __init__(self) -> None:
        self.already: int | None = None
        self.began = self.said = time.perf_counter()
        self.bar = counting_bar()
        self.task = self.bar.add_task("attacking", total=None)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def watching(self, attack: str, done: int, total: int, active: int) -> None:
        self.bar.update(self.task, description=f"{attack[:30]} {done}/{total}, {active} left")

    def show(self, what: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if self.already is None:
            self.already, self.began, self.said = done, now, now
            if done:
                complain(f"{done} of {total} were there already, going on")
            self.bar.start()
        self.bar.update(self.task, completed=done, total=total)
        if self.bar.disable and now - self.said > EVERY:
            self.said = now
            rate = (done - self.already) / (now - self.began)
            left = f"{(total - done) / rate:.0f} s left" if rate else "no estimate yet"
            complain(f"{done} of {total} attacked, {left}")
