"""Attack a collection in this process: read ahead, sort out, fill batches of one size, attack."""

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TypeAlias

from percert.attacks.collection.batch import Outcome, Plan, Watching, attack_batch, unmoved
from percert.attacks.collection.items import Item, Subject, read_subject
from percert.attacks.collection.tasks import Clean, Task
from percert.attacks.goal import NonFiniteScores
from percert.attacks.prepare import evaluating
from percert.check import one_line
from percert.images import ImageError

#: How many batches' worth of images are held at once, where their sizes differ.
HELD = 8

#: (image, attack) of the rows that are there already.
Done: TypeAlias = Set[tuple[str, str]]
_Known: TypeAlias = tuple[Subject, Clean]
_Sizes: TypeAlias = tuple[tuple[int, ...], ...]


def attack_items(
    task: Task,
    plan: Plan,
    items: Iterable[Item],
    done: Done = frozenset(),
    watching: Watching | None = None,
) -> Iterator[Outcome]:
    """Attack every item with every attack of the ``plan``, but for what is ``done``.

    Images are read once for all attacks, and batched with others of their sizes. An image that is
    bad, or that the model cannot judge (its size, scores that are NaN), and an attack that raises
    are given as outcomes; such an attack is not tried again.
    """
    with evaluating(task.model):
        yield from _outcomes(task, plan, items, done, watching)


def _outcomes(
    task: Task, plan: Plan, items: Iterable[Item], done: Done, watching: Watching | None
) -> Iterator[Outcome]:
    alive = dict.fromkeys(plan.attacks)
    waiting: dict[_Sizes, list[_Known]] = {}
    for group in _by_size(_read(task, plan, items, done), plan.batch_size):
        if isinstance(group, Outcome):
            yield group
            continue
        for known in _looked(task, group):
            if isinstance(known, Outcome):
                yield known
                continue
            subject, clean = known
            if clean.attack:
                waiting.setdefault(subject.sizes, []).append(known)
            else:
                rows = [
                    unmoved(task, plan, attack, subject, clean)
                    for attack in plan.attacks
                    if (subject.item.name, attack) not in done
                ]
                yield Outcome(rows, [None] * len(rows))
        for sizes in _full(waiting, plan.batch_size):
            yield from _attack(task, plan, waiting.pop(sizes), alive, done, watching)
    for rest in waiting.values():
        yield from _attack(task, plan, rest, alive, done, watching)


def _read(task: Task, plan: Plan, items: Iterable[Item], done: Done) -> Iterator[Subject | Outcome]:
    for item in items:
        if all((item.name, attack) in done for attack in plan.attacks):
            continue
        try:
            yield read_subject(item)
        except ImageError as error:
            at = (
                ""
                if error.path == item.source or str(error.path) == item.name
                else f"{error.path}: "
            )
            yield Outcome(bad=item, reason=f"{at}{error.reason}")


def _by_size(
    subjects: Iterable[Subject | Outcome], batch_size: int
) -> Iterator[list[Subject] | Outcome]:
    """Lists of subjects of the same sizes, full ones where possible."""
    waiting: dict[_Sizes, list[Subject]] = {}
    for subject in subjects:
        if isinstance(subject, Outcome):
            yield subject
            continue
        waiting.setdefault(subject.sizes, []).append(subject)
        for sizes in _full(waiting, batch_size):
            yield waiting.pop(sizes)
    yield from waiting.values()


def _full(waiting: Mapping[_Sizes, Sequence[object]], batch_size: int) -> list[_Sizes]:
    """The sizes whose turn it is: full batches, and the most frequent where too many are held."""
    full = [sizes for sizes, found in waiting.items() if len(found) >= batch_size]
    if not full and sum(map(len, waiting.values())) >= HELD * batch_size:
        full = [max(waiting, key=lambda sizes: len(waiting[sizes]))]
    return full


def _looked(task: Task, subjects: list[Subject]) -> Iterator[_Known | Outcome]:
    """The subjects with what is known of them; those that the model cannot judge as bad items."""
    try:
        clean = task.look(subjects)
    except ValueError as error:
        if len(subjects) == 1:
            yield Outcome(bad=subjects[0].item, reason=one_line(error, 1000))
            return
        for subject in subjects:  # to tell them apart
            yield from _looked(task, [subject])
    else:
        yield from zip(subjects, clean, strict=True)


def _attack(
    task: Task,
    plan: Plan,
    known: list[_Known],
    alive: dict[str, None],
    done: Done,
    watching: Watching | None,
) -> Iterator[Outcome]:
    for start in range(0, len(known), plan.batch_size):
        batch = known[start : start + plan.batch_size]
        for attack in list(alive):
            todo = [(s, clean) for s, clean in batch if (s.item.name, attack) not in done]
            if not todo:
                continue
            for outcome in _attacked(task, plan, attack, todo, watching):
                if outcome.failed is not None:
                    alive.pop(attack, None)
                yield outcome


def _attacked(
    task: Task, plan: Plan, attack: str, known: list[_Known], watching: Watching | None
) -> Iterator[Outcome]:
    """One attack on one batch; image by image where the model says NaN of one on the way."""
    subjects, clean = [s for s, _ in known], [c for _, c in known]
    try:
        yield attack_batch(task, plan, attack, subjects, clean, watching)
    except NonFiniteScores as error:
        if len(known) == 1:
            yield Outcome(bad=subjects[0].item, reason=f"attack {attack}: {error}")
            return
        for one in known:
            yield from _attacked(task, plan, attack, [one], watching)
    except Exception as error:  # noqa: BLE001  # one attack's defect must not end the others
        reason = one_line(error, 1000)
        yield Outcome(failed=attack, reason=f"{reason}\n{traceback.format_exc()}")
