"""The REST interface: what this server is and allows, forms, and what is answered at once."""

import io
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from PIL import Image
from torch import Tensor

import percert
from percert.app.attack import attacks_offered
from percert.app.audit import AskedAudit, AuditAnswer, answer_audit
from percert.app.compare import PairAnswer, PairQuestion, answer_pair
from percert.app.context import Context, ServerContext
from percert.app.edits import (
    EditsAnswer,
    TripletEditsAnswer,
    answer_edits,
    answer_triplet_edits,
)
from percert.app.errors import RefusedRequest, problems
from percert.app.images import upload_of
from percert.app.judge import TripletAnswer, TripletQuestion, answer_triplet
from percert.app.resources import Limits
from percert.app.search import (
    CopiesAnswer,
    NearestAnswer,
    StoreAbout,
    answer_together,
    ask_copies,
    ask_nearest,
    small_picture,
)
from percert.app.worker import Worker
from percert.attacks.catalog import CATALOG
from percert.certify.pairs import PerturbedPair
from percert.registry import settings_text
from percert.search.ingest.views import parse_views
from percert.search.query.reference_rule import RuleAsked

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
async def health(context: Context) -> Health:
    """Is the server well?"""
    return Health("ok", percert.__version__, context.jobs.count(), context.questions.held)


@router.get("/about", tags=["about"], response_model=About)
async def about(context: Context) -> dict[str, Any]:
    """What may be asked of this server."""
    return asdict(await describe(context))


async def describe(context: ServerContext, *, ask_store: bool = True) -> About:
    """What the server was started with, and what its store holds now; waits for no question.

    ``ask_store`` False leaves the store out.
    """
    resources = context.resources
    store, problem = None, None
    try:
        store = await context.store_about() if ask_store else None
    except RefusedRequest as error:
        problem = error.reason
    return About(
        version=percert.__version__,
        metrics=[
            MetricAbout(
                card.name, card.summary, card.embedding, card.copy_threshold, card.smallest_side
            )
            for card in resources.cards()
        ],
        absent=resources.absent(),
        models=list(resources.classifiers),
        attacks=[
            AttackAbout(
                name,
                CATALOG[name].kind,
                CATALOG[name].summary,
                settings_text(CATALOG.settings(name)),
            )
            for name in attacks_offered()
        ],
        store=store,
        store_problem=problem,
        limits=context.limits,
    )


ImageFile = Annotated[UploadFile, File(description="A JPEG, PNG, WebP, BMP, TIFF or AVIF image.")]
MetricName = Annotated[
    str, Form(description="A metric of /api/v1/about; by default the first.", max_length=300)
]
Eps = Annotated[
    float | None,
    Form(
        ge=0,
        le=1e5,
        allow_inf_nan=False,
        description="The tampering to allow for: an l2 length in the pixels (0 to 1) of the image "
        "as given. By default one 8-bit level on every value, sqrt(3 h w) / 255.",
    ),
]
#: The same, of a kept answer's address.
EpsInQuery = Annotated[float | None, Query(ge=0, le=1e5, allow_inf_nan=False)]
Threshold = Annotated[
    float | None,
    Form(
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="In place of wrong: one threshold for all, images up to this distance are "
        "copies.",
    ),
]
PairWrong = Annotated[
    float | None,
    Form(
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="The reference's own threshold, which this share of unrelated photographs is "
        "as near as. By default 0.001; a metric without a table of strangers has the threshold "
        "that it recommends.",
    ),
]
Views = Annotated[
    str,
    Form(
        max_length=2000,
        description="Views of the reference, a set or names with commas: a candidate is a copy "
        "where it is one of any.",
    ),
]

Wrong = Annotated[
    float | None,
    Form(
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="How many wrong answers are bearable: the share of queries that are copies of "
        "nothing and get an answer all the same. By default 0.001.",
    ),
]
Insets = Annotated[
    bool, Form(description="Ask for pictures inside it as well, such as a screenshot's.")
]
StoreThreshold = Annotated[
    float | None,
    Form(
        ge=0,
        le=3,
        allow_inf_nan=False,
        description="In place of wrong: images up to this distance are copies, less the weight of "
        "the stored one's likeness to the store's background.",
    ),
]


def _pair(
    reference: ImageFile,
    candidate: ImageFile,
    metric: MetricName = "",
    eps: Eps = None,
    threshold: Threshold = None,
    perturbed: Annotated[
        PerturbedPair, Form(description="Which image is tampered with.")
    ] = "candidate",
    wrong: PairWrong = None,
    views: Views = "whole",
) -> PairQuestion:
    try:
        rule = RuleAsked(threshold=threshold, wrong=wrong, views=parse_views(views))
    except ValueError as error:
        raise RefusedRequest(422, str(error)) from None
    return PairQuestion(
        upload_of(reference, "reference"),
        upload_of(candidate, "candidate"),
        metric,
        eps,
        rule,
        perturbed,
    )


def _triplet(
    reference: ImageFile, left: ImageFile, right: ImageFile, metric: MetricName = ""
) -> TripletQuestion:
    return TripletQuestion(
        upload_of(reference, "reference"),
        upload_of(left, "left"),
        upload_of(right, "right"),
        metric,
    )


AskedPair = Annotated[PairQuestion, Depends(_pair)]
AskedTriplet = Annotated[TripletQuestion, Depends(_triplet)]


Many = Annotated[int, Form(ge=1, le=100, description="How many of the nearest.")]


@router.post("/compare", tags=["compare"])
async def compare(context: Context, asked: AskedPair) -> PairAnswer:
    """How far is the candidate from the reference, is it a copy, and how far does that stand?"""
    return await context.ask(answer_pair, asked)


@router.post("/compare/edits", tags=["compare"])
async def compare_edits(context: Context, asked: AskedPair) -> EditsAnswer:
    """How far may the candidate be edited (darker, cropped, turned ...) without another verdict?"""
    return await context.ask(answer_edits, asked)


@router.post("/judge", tags=["judge"])
async def judge(context: Context, asked: AskedTriplet) -> TripletAnswer:
    """Which of two images is closer to a reference, and how far does that stand?"""
    return await context.ask(answer_triplet, asked)


@router.post("/judge/edits", tags=["judge"])
async def judge_edits(context: Context, asked: AskedTriplet) -> TripletEditsAnswer:
    """How far may the reference be edited (darker, cropped, turned ...) without another answer?"""
    return await context.ask(answer_triplet_edits, asked)


@router.post("/search", tags=["search"], response_model=NearestAnswer, responses=problems(503))
async def search(
    context: Context, image: ImageFile, k: Many = 10, eps: Eps = None
) -> dict[str, Any]:
    """Which stored images are nearest to this one, and how far is that proven?"""
    query = upload_of(image, "query")
    found: dict[str, Any] = await context.ask_together(answer_together, query, ask_nearest, k, eps)
    return found


@router.post("/copies", tags=["search"], response_model=CopiesAnswer, responses=problems(503))
async def copies(
    context: Context,
    image: ImageFile,
    wrong: Wrong = None,
    threshold: StoreThreshold = None,
    eps: Eps = None,
    insets: Insets = False,
) -> dict[str, Any]:
    """Which stored images is this one certainly, or possibly, a copy of? None is missing."""
    query, settings = upload_of(image, "query"), (wrong, threshold, eps, insets)
    found: dict[str, Any] = await context.ask_together(
        answer_together, query, ask_copies, *settings
    )
    return found


@router.get(
    "/store/picture",
    tags=["search"],
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 503)},
)
async def stored_picture(context: Context, id: str) -> Response:
    """A small picture of a stored image."""
    png = await context.ask(_png_of, id)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


@router.post("/audit", tags=["audit"], response_model=AuditAnswer)
async def audit(context: Context, asked: AskedAudit) -> dict[str, Any]:
    """Does accuracy depend on an attribute of the groups that images come from?"""
    return await context.ask(answer_audit, asked)


def _png_of(worker: Worker, image_id: str) -> bytes:
    return _png(small_picture(worker, image_id))


def _png(image: Tensor) -> bytes:
    levels = (255 * image).round().byte().permute(1, 2, 0).contiguous().numpy()
    held = io.BytesIO()
    Image.fromarray(levels).save(held, "PNG")
    return held.getvalue()
