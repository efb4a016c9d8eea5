"""The interface: what this server is, what it was started with, and what it allows."""

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter

import percert
from percert.app.classifier_attack import attacks_offered, settings_of
from percert.app.desk import AtDesk
from percert.app.limits import Limits
from percert.app.refusal import problems
from percert.attacks.catalog import CATALOG, attack_settings

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
class StoreAbout:
    """The store that is searched."""

    images: int
    metric: str
    views: list[str]


@dataclass(frozen=True)
class About:
    """What may be asked of this server. ``absent`` metrics need weights that it was not given."""

    version: str
    metrics: list[MetricAbout]
    absent: list[str]
    models: list[str]
    attacks: list[AttackAbout]
    store: StoreAbout | None
    limits: Limits


@router.get("/health", tags=["about"])
async def health(desk: AtDesk) -> Health:
    """Is the server well?"""
    return Health("ok", percert.__version__, desk.jobs.count(), desk.questions.held)


@router.get("/about", tags=["about"], response_model=About)
async def about(desk: AtDesk) -> dict[str, Any]:
    """What may be asked of this server."""
    return asdict(await desk.ask(lambda: describe(desk)))


def describe(desk: AtDesk) -> About:
    """What the server was started with."""
    loaded = desk.loaded
    store = None
    if loaded.store is not None:
        with loaded.store_lock:
            held = loaded.store
            store = StoreAbout(held.count, held.metric_id.name, list(held.views))
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
                name, CATALOG[name].kind, CATALOG[name].summary, settings_of(attack_settings(name))
            )
            for name in attacks_offered()
        ],
        store=store,
        limits=desk.limits,
    )
