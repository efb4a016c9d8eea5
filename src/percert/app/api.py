"""The REST interface: forms, and what is answered at once.

Forms: what a client sends with its files, checked and described once for page and interface.

The interface: compare, judge, search and audit, each answered at once.
"""

import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from PIL import Image
from torch import Tensor

from percert.app.answers.audit import AskedAudit, AuditAnswer, answer_audit
from percert.app.answers.compare import PairAnswer, PairQuestion, answer_pair
from percert.app.answers.judge import TripletAnswer, TripletQuestion, answer_triplet
from percert.app.answers.search import (
    CopiesAnswer,
    NearestAnswer,
    answer_copies,
    answer_nearest,
    small_picture,
)
from percert.app.context import Context
from percert.app.errors import problems
from percert.app.images import upload_of
from percert.app.worker import Worker
from percert.certify.pairs import PerturbedPair

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
        description="Images up to this distance are copies; by default what the metric recommends.",
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
) -> PairQuestion:
    return PairQuestion(
        upload_of(reference, "reference"),
        upload_of(candidate, "candidate"),
        metric,
        eps,
        threshold,
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


router = APIRouter(prefix="/api/v1", responses=problems())

Many = Annotated[int, Form(ge=1, le=100, description="How many of the nearest.")]


@router.post("/compare", tags=["compare"])
async def compare(desk: Context, asked: AskedPair) -> PairAnswer:
    """How far is the candidate from the reference, is it a copy, and how far does that stand?"""
    return await desk.ask(answer_pair, asked)


@router.post("/judge", tags=["judge"])
async def judge(desk: Context, asked: AskedTriplet) -> TripletAnswer:
    """Which of two images is closer to a reference, and how far does that stand?"""
    return await desk.ask(answer_triplet, asked)


@router.post("/search", tags=["search"], response_model=NearestAnswer, responses=problems(503))
async def search(desk: Context, image: ImageFile, k: Many = 10, eps: Eps = None) -> dict[str, Any]:
    """Which stored images are nearest to this one, and how far is that proven?"""
    return await desk.ask(answer_nearest, upload_of(image, "query"), k, eps)


@router.post("/copies", tags=["search"], response_model=CopiesAnswer, responses=problems(503))
async def copies(
    desk: Context, image: ImageFile, threshold: Threshold = None, eps: Eps = None
) -> dict[str, Any]:
    """Which stored images is this one certainly, or possibly, a copy of? None is missing."""
    return await desk.ask(answer_copies, upload_of(image, "query"), threshold, eps)


@router.get(
    "/store/picture",
    tags=["search"],
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 503)},
)
async def stored_picture(desk: Context, id: str) -> Response:
    """A small picture of a stored image."""
    png = await desk.ask(_png_of, id)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


@router.post("/audit", tags=["audit"], response_model=AuditAnswer)
async def audit(desk: Context, asked: AskedAudit) -> dict[str, Any]:
    """Does accuracy depend on an attribute of the groups that images come from?"""
    return await desk.ask(answer_audit, asked)


def _png_of(bench: Worker, image_id: str) -> bytes:
    return _png(small_picture(bench, image_id))


def _png(image: Tensor) -> bytes:
    levels = (255 * image).round().byte().permute(1, 2, 0).contiguous().numpy()
    held = io.BytesIO()
    Image.fromarray(levels).save(held, "PNG")
    return held.getvalue()
