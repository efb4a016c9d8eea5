"""The audit of groups from files: predictions, or classifiers that are run on images first."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings, GroupAudit
from percert.fairness.predictions import read_attributes, read_predictions

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

    from percert.audit.groups import Watch


@dataclass(frozen=True, kw_only=True)
class GroupFiles:
    """What is audited: a file of ``predictions``, or classifiers ``models`` on ``images``.

    ``models`` are specifications, or folders of ``percert train dro``, with one file of
    ``weights`` each or none; ``groups`` lists image, group and label, of which with ``split`` only
    those rows count. ``attributes`` has the groups' numbers, of which ``attribute`` are tested.
    ``against`` are predictions of another set of models (or a folder of such models), ``before``
    those of earlier versions, the earliest first, ``pretrained`` those of the model that all were
    made from. ``columns`` says what files call the columns of predictions; a column probability
    counts as positive from ``threshold`` on.
    """

    predictions: Path | None = None
    models: Sequence[str] = ()
    weights: Sequence[Path] = ()
    images: Path | None = None
    groups: Path | None = None
    split: str | None = None
    attributes: Path | None = None
    attribute: tuple[str, ...] = ()
    against: Path | None = None
    before: Sequence[Path] = ()
    pretrained: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.5

    @property
    def runs_against(self) -> bool:
        """Whether ``against`` is a folder of models to run beside the others."""
        return self.predictions is None and self.against is not None and self.against.is_dir()

    @property
    def inputs(self) -> list[Path]:
        """The files that are read whole: ``run.json`` has their hashes."""
        against = None if self.runs_against else self.against
        named = (self.predictions, self.attributes, against, self.pretrained)
        return [*filter(None, (*named, *self.before, self.groups)), *self.weights]


def audit_group_files(
    files: GroupFiles,
    settings: AuditSettings | None = None,
    *,
    out: Path | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    watch: "Watch | None" = None,
) -> GroupAudit:
    """Read the ``files``, run classifiers where these are given, and audit the groups.

    With ``out`` the report, ``audit.json``, ``records.parquet`` and ``run.json`` go there, and
    predictions of classifiers, which a later run takes from there. Raises ``ValueError`` for files
    that are not as they should be (:func:`percert.fairness.audit_groups`), and where neither
    predictions are given nor models with images and groups.
    """
    settings = settings or AuditSettings()
    began = time.perf_counter()
    table = None
    if files.attributes is not None:
        table = read_attributes(files.attributes, files.attribute, covariates=settings.covariates)
    first, others = _predictions(files, settings, out, device, watch)
    versions = [(path.stem, _read(path, files, settings)) for path in files.before]
    audit = audit_groups(
        first,
        table,
        against=others,
        before=versions if len(versions) > 1 else versions[0][1] if versions else None,
        pretrained=_read_given(files.pretrained, files, settings),
        names=(
            _name(files),
            files.against.stem if files.against is not None else "against",
            files.pretrained.stem if files.pretrained is not None else "pretrained",
        ),
        settings=settings,
    )
    if out is not None:
        from percert.fairness.report import write_audit

        write_audit(
            audit,
            out,
            command=command,
            device=device if files.predictions is None else "cpu",
            seconds=time.perf_counter() - began,
            inputs=files.inputs,
        )
    return audit


def _predictions(
    files: GroupFiles, settings: AuditSettings, out: Path | None, device: str, watch: "Watch | None"
) -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    """The predictions that are audited, and those of the other set of models."""
    if files.predictions is not None:
        first = _read(files.predictions, files, settings)
        return first, _read_given(files.against, files, settings)
    if not files.models or files.images is None or files.groups is None:
        raise ValueError("predictions: expected a file, or models, images and groups")
    # Imported here: a file of predictions takes no torch.
    from percert.audit.groups import named_models, predict_groups

    sets = [named_models(files.models, files.weights)]
    if files.runs_against:
        sets.append(named_models([str(files.against)]))
    first, *others = predict_groups(
        sets,
        files.images,
        files.groups,
        files.columns,
        by=settings.by,
        strata=settings.strata,
        split=files.split,
        device=device,
        out=out,
        watch=watch,
    )
    return first, others[0] if others else _read_given(files.against, files, settings)


def _read(path: Path, files: GroupFiles, settings: AuditSettings) -> "pd.DataFrame":
    return read_predictions(
        path,
        files.columns,
        outcome=settings.outcome,
        positive=settings.positive,
        threshold=files.threshold,
        by=settings.by,
        strata=settings.strata,
    )


def _read_given(
    path: Path | None, files: GroupFiles, settings: AuditSettings
) -> "pd.DataFrame | None":
    return None if path is None else _read(path, files, settings)


def _name(files: GroupFiles) -> str:
    """What the audited set is called: its file, the one folder of models, or plainly "models"."""
    if files.predictions is not None:
        return files.predictions.stem
    alone = Path(files.models[0]) if len(files.models) == 1 else None
    return alone.name if alone is not None and alone.is_dir() else "models"
