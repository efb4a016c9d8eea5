"""Audit: the fairness report of two uploaded tables."""

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, File, Form, UploadFile
from fastapi.exceptions import RequestValidationError

from percert.app.errors import in_fields
from percert.app.images import Upload, upload_of
from percert.app.resources import Limits
from percert.app.worker import Worker
from percert.extras import install_extra
from percert.fairness.least_squares import COVARIANCES
from percert.fairness.predictions import read_attributes, read_predictions
from percert.reports.table import finite

if TYPE_CHECKING:
    from percert.fairness.audit_result import GroupAudit

#: Simulated draws that a client may ask for.
DRAWS = 2000


@dataclass(frozen=True)
class AuditQuestion:
    """Tables, and how to test them: attributes and an earlier version may be missing."""

    predictions: Upload
    attributes: Upload | None = None
    before: Upload | None = None
    attribute: tuple[str, ...] = ()
    smallest: int = 50
    covariance: str = ""
    drop_missing: bool = False
    draws: int = 500
    outcome: str = "accuracy"
    positive: str = ""
    margin: float | None = None
    by: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditAnswer:
    """The answer of ``percert audit groups --json``."""

    groups: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    models: list[dict[str, Any]]
    comparison: dict[str, Any]
    details: dict[str, Any]


def _audit(
    predictions: Annotated[
        UploadFile,
        File(
            description="CSV, one row an image: image, group, and correct (0 or 1) or label and "
            "prediction; model where there are several."
        ),
    ],
    attributes: Annotated[
        UploadFile | None,
        File(
            description="CSV, one row a group: group and columns of numbers. Without it: do the "
            "groups differ at all?"
        ),
    ] = None,
    before: Annotated[
        UploadFile | None,
        File(description="CSV, predictions of an earlier version on the same images."),
    ] = None,
    attribute: Annotated[
        str,
        Form(
            max_length=400,
            description="The columns to test, separated by commas; by default the only one.",
        ),
    ] = "",
    smallest: Annotated[
        int, Form(ge=1, le=10**6, description="Groups of fewer images are left out.")
    ] = 50,
    covariance: Annotated[
        str,
        Form(
            max_length=40,
            description=f"Of the groups' errors, one of {', '.join(COVARIANCES)}; by default "
            "between first, which holds its level, with others beside it.",
        ),
    ] = "",
    drop_missing: Annotated[
        bool, Form(description="Leave groups without an attribute out.")
    ] = False,
    draws: Annotated[
        int,
        Form(
            ge=0,
            le=DRAWS,
            description="Simulated draws, of false alarms and of what measures show by chance.",
        ),
    ] = 500,
    outcome: Annotated[
        str,
        Form(
            max_length=100,
            description="accuracy, true-positive-rate, false-positive-rate, selection-rate, or a "
            "column of 0 and 1.",
        ),
    ] = "accuracy",
    positive: Annotated[
        str, Form(max_length=100, description="The class that counts as positive.")
    ] = "",
    margin: Annotated[
        str, Form(max_length=20, description="Fair within so much, such as 0.05?")
    ] = "",
    by: Annotated[
        str,
        Form(
            max_length=400,
            description="Columns of the predictions that make the groups, separated by commas.",
        ),
    ] = "",
    within: Annotated[
        str,
        Form(
            max_length=400,
            description="Columns within which groups are compared as well, such as label.",
        ),
    ] = "",
) -> AuditQuestion:
    return AuditQuestion(
        predictions=upload_of(predictions, "predictions.csv"),
        attributes=_given(attributes, "attributes.csv"),
        before=_given(before, "before.csv"),
        attribute=_names(attribute),
        smallest=smallest,
        covariance=covariance,
        drop_missing=drop_missing,
        draws=draws,
        outcome=outcome.strip() or "accuracy",
        positive=positive.strip(),
        margin=_margin(margin),
        by=_names(by),
        within=_names(within),
    )


def _given(file: UploadFile | None, fallback: str) -> Upload | None:
    """The upload, if one was chosen: browsers send an empty one where none was."""
    return upload_of(file, fallback) if file is not None and file.filename else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _margin(text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise RequestValidationError(
            [
                {
                    "loc": ("body", "margin"),
                    "msg": "Input should be a number",
                    "type": "float_parsing",
                }
            ]
        ) from None


AskedAudit = Annotated[AuditQuestion, Depends(_audit)]


def audit(worker: Worker, question: AuditQuestion) -> "GroupAudit":
    """The audit of both tables. ``ValueError`` says what is wrong with them."""
    try:
        from percert.fairness.audit import audit_groups
        from percert.fairness.audit_result import AuditSettings
    except ImportError as error:
        raise ValueError(f"the audit needs {error.name}: {install_extra('fairness')}") from None
    limits = worker.limits
    with tempfile.TemporaryDirectory(prefix="audit-", dir=worker.folder) as name:
        folder = Path(name)
        try:
            predictions, before = (
                None
                if upload is None
                else read_predictions(
                    _table(upload, folder, place, limits),
                    outcome=question.outcome,
                    positive=question.positive or None,
                    by=question.by,
                    strata=question.within,
                )
                for upload, place in ((question.predictions, "a"), (question.before, "c"))
            )
            attributes = None
            if question.attributes is not None:
                attributes = read_attributes(
                    _table(question.attributes, folder, "b", limits), question.attribute
                )
        except ValueError as error:
            raise ValueError(_without(in_fields(error), folder, question)) from None
    assert predictions is not None
    for what, most in (("group", limits.groups), ("model", limits.models)):
        found = predictions[what].nunique()
        if found > most:
            raise ValueError(
                f"{question.predictions.name}: {found} {what}s, more than {most}, which is the "
                "limit of this server"
            )
    covariances = (question.covariance,) if question.covariance else AuditSettings.covariances
    if question.covariance and question.covariance not in COVARIANCES:
        raise ValueError(
            f"covariance: expected one of {', '.join(COVARIANCES)}, found {question.covariance!r}"
        )
    settings = AuditSettings(
        smallest=question.smallest,
        covariances=covariances,
        draws=question.draws,
        drop_missing=question.drop_missing,
        outcome=question.outcome,
        positive=question.positive or None,
        margin=question.margin,
        by=question.by,
        strata=question.within,
    )
    return audit_groups(predictions, attributes, before=before, settings=settings)


def answer_audit(worker: Worker, question: AuditQuestion) -> dict[str, Any]:
    """The fields of an :class:`AuditAnswer`."""
    found: dict[str, Any] = finite(audit(worker, question).to_dict())
    return found


def _table(upload: Upload, folder: Path, place: str, limits: Limits) -> Path:
    """The upload as a CSV file in ``folder``, if it looks like one that is not too large."""
    content = upload.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{upload.name}: expected a CSV file in UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{upload.name}: expected a CSV file, found other bytes")
    rows = text.count("\n")
    if rows > limits.rows:
        raise ValueError(
            f"{upload.name}: {rows} rows, more than {limits.rows}, which is the limit here"
        )
    # A file of many commas is small, and a large table.
    columns = max((line.count(",") + 1 for line in text.splitlines()), default=0)
    if columns > limits.columns:
        raise ValueError(
            f"{upload.name}: {columns} columns, more than {limits.columns}, which is the limit here"
        )
    header = next(csv.reader(io.StringIO(text)), [])
    if len(set(header)) < len(header):
        raise ValueError(f"{upload.name}: a column occurs more than once: {', '.join(header)}")
    path = folder / place / "predictions.csv"  # a model without a name is called after it
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def _without(message: str, folder: Path, question: AuditQuestion) -> str:
    """The message with the client's names in place of the server's paths."""
    uploads = (("a", question.predictions), ("b", question.attributes), ("c", question.before))
    for place, upload in uploads:
        if upload is None:
            continue
        message = message.replace(str(folder / place / "predictions.csv"), upload.name)
    return message
