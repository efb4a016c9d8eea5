"""The interface: what this server is, what it was started with, and what it allows."""

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter

import percert
from percert.app.answers.attack import attacks_offered, settings_of
from percert.app.answers.search import StoreAbout
from percert.app.context import Context, ServerContext
from percert.app.errors import Refused, problems
from percert.app.limits import Limits
from percert.attacks.catalog import CATALOG

router = APIRouter(prefix="/api/v1", responses=problems())


@dataclass(frozen=True)
class Health:
    """That the server is well, and how busy it is: jobs by state, and questions under way."""

    status: str
    version: str
    jobs: dict[str, int]
    questions: int


@dataclass(frozen=True)
class MetricAbout:
    """A metric that may be asked for; ``proven`` ones give intervals and radii."""

    name: str
    summary: str
    proven: bool
    copy_threshold: float | None
    smallest_side: int


@dataclass(frozen=True)
class AttackAbout:
    """An attack that may be asked for, with its settings as they are when none are given."""

    name: str
    kind: str
    summary: str
    settings: str


@dataclass(frozen=True)
class About:
    """What may be asked of this server. ``absent`` metrics need weights that it was not given.

    ``store`` is ``None`` where there is none, and where it cannot be read: ``store_problem``.
    """

    version: str
    metrics: list[MetricAbout]
    absent: list[str]
    models: list[str]
    attacks: list[AttackAbout]
    store: StoreAbout | None
    store_problem: str | None
    limits: Limits


@router.get("/health", tags=["about"])
async def health(desk: Context) -> Health:
    """Is the server well?"""
    return Health("ok", percert.__version__, desk.jobs.count(), desk.questions.held)


@router.get("/about", tags=["about"], response_model=About)
async def about(desk: Context) -> dict[str, Any]:
    """What may be asked of this server."""
    return asdict(await describe(desk))


async def describe(desk: ServerContext, *, ask_store: bool = True) -> About:
    """What the server was started with, and what its store holds now, which waits for no question.

    ``ask_store`` False leaves the store out.
    """
    loaded = desk.loaded
    store, problem = None, None
    try:
        store = await desk.store_about() if ask_store else None
    except Refused as error:
        problem = error.reason
    return About(
        version=percert.__version__,
        metrics=[
            MetricAbout(
                card.name, card.summary, card.embedding, card.copy_threshold, card.smallest_side
            )
            for card in loaded.cards()
        ],
        absent=loaded.absent(),
        models=list(loaded.classifiers),
        attacks=[
            AttackAbout(
                name, CATALOG[name].kind, CATALOG[name].summary, settings_of(CATALOG.settings(name))
            )
            for name in attacks_offered()
        ],
        store=store,
        store_problem=problem,
        limits=desk.limits,
    )
