"""Forms: what a client sends with its files, checked and described once for page and interface."""

from typing import Annotated

from fastapi import Depends, File, Form, Query, UploadFile

from percert.app.pair_answer import PairQuestion
from percert.app.triplet_answer import TripletQuestion
from percert.app.uploads import upload_of
from percert.certify.distance import PerturbedPair

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
