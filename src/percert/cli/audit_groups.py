"""``percert audit groups``: does accuracy depend on an attribute of the groups?"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from percert.cli.audit_groups_options import (
    ByOption,
    CovariateOption,
    SplitOption,
    WithinOption,
    column_names,
    once,
)
from percert.cli.command import command_line, needs, one_line_errors
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption, out_option
from percert.cli.output import emit_json
from percert.cli.progress import with_progress


@one_line_errors
@needs("fairness", sometimes=("networks", "timm"))
def groups(
    predictions: Annotated[
        Path | None,
        typer.Argument(
            help="CSV or parquet, one row an image: [bold]image[/bold], [bold]group[/bold], and "
            "[bold]correct[/bold] (0 or 1) or [bold]label[/bold] and [bold]prediction[/bold] (or "
            "[bold]probability[/bold]); [bold]model[/bold] where it holds several models."
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            "--attributes",
            metavar="FILE",
            help="CSV or parquet, one row a group: [bold]group[/bold] and columns of numbers. "
            "Without it the question is whether the groups differ at all.",
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            metavar="COLUMN",
            help="The attribute to test, such as log_gdp; repeat it for several, which Holm's "
            "method then adjusts for. The default is the file's one column of numbers.",
        ),
    ] = None,
    covariate: CovariateOption = None,
    by: ByOption = None,
    within: WithinOption = None,
    outcome: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What is asked of the images: accuracy, true-positive-rate, false-positive-rate, "
            "selection-rate, or a column of 0 and 1.",
        ),
    ] = "accuracy",
    positive: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="The class that counts as positive. The default is the second of two in order, "
            "such as 1 of 0 and 1; of more it has to be named.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Of a column [bold]probability[/bold] (of the positive class) in place of "
            "predictions: positive from here on."
        ),
    ] = 0.5,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Are the groups fair within so much, such as 0.05? Two one-sided tests, of every "
            "pair of groups and of the line over the attribute's range.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE|DIR",
            help="Predictions of another set of models, or a folder of [bold]percert train "
            "dro[/bold], whose models are run beside --model's: are the slopes of the first "
            "smaller?",
        ),
    ] = None,
    before: Annotated[
        list[Path] | None,
        typer.Option(
            "--before",
            metavar="FILE",
            help="Predictions of an earlier version, or another model, on the same images: which "
            "groups gained or lost, and is the gap smaller now? Repeat it for several, the "
            "earliest first.",
        ),
    ] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(
            "--pretrained",
            metavar="FILE",
            help="Predictions of the model that all were made from: tested, and drawn as a line.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="SPEC",
            help="Instead of PREDICTIONS: a classifier to run on --images, or a folder of "
            "[bold]percert train dro[/bold] for all of its models; repeat it for several.",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--weights", metavar="FILE", help="Its weights, one file for each --model, in order."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="The folder that --groups' files lie in."),
    ] = None,
    group_file: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            metavar="FILE",
            help="CSV or parquet with [bold]image[/bold] (a path inside --images), "
            "[bold]group[/bold] and [bold]label[/bold] (the class index).",
        ),
    ] = None,
    split: SplitOption = None,
    min_size: Annotated[
        int, typer.Option("--min-size", min=1, help="Smaller groups are left out, and listed.")
    ] = 50,
    drop_missing: Annotated[
        bool,
        typer.Option(
            "--drop-missing", help="Leave groups without an attribute out, and list them."
        ),
    ] = False,
    covariance: Annotated[
        list[str] | None,
        typer.Option(
            "--covariance",
            metavar="NAME",
            help="Of the groups' errors: between, paper, binomial, equal, robust. Repeat it; the "
            "first decides. The default is all but equal, between first, which holds its level.",
        ),
    ] = None,
    magnitude: Annotated[
        bool,
        typer.Option("--magnitude", help="Compare sets by the size of slopes, whatever the sign."),
    ] = False,
    confidence: Annotated[float, typer.Option(help="Of all intervals.")] = 0.95,
    draws: Annotated[
        int,
        typer.Option(
            min=0,
            help="Simulated draws: of each test's false alarms on groups like these, and of what "
            "the usual measures show by chance; 0: none.",
        ),
    ] = 2000,
    pair: Annotated[
        Literal["name", "order", "none"],
        typer.Option(
            metavar="HOW",
            help="Which models of both sets belong together: those of one [bold]name[/bold], those "
            "in the same [bold]order[/bold] of the files (as in the paper), or [bold]none[/bold].",
        ),
    ] = "name",
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="What the files of predictions call one of model, image, group, label, "
            "prediction, probability and correct: --column group=country.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of simulations and permutations.")] = 0,
    out: Annotated[
        Path | None,
        out_option(
            "Write report.html, its figures, audit.json, records.parquet and run.json here."
        ),
    ] = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Does accuracy differ among the groups that images come from, or depend on their attribute?

    The accuracy of each group is regressed on its attribute (generalised least squares; F-test of
    slope 0), under several assumptions on the groups' errors. Beside it stand the usual measures:
    worst group, gap, ratio, equalised odds. --outcome asks the same of another outcome, such as the
    true-positive rate. With --against two sets of models are compared: paired and Welch's t-test
    and a permutation test, all one-sided. What is printed says what may be
    concluded, and what may not.

    --json prints groups (group, n, accuracy, attribute), left_out, models (model, slope, intercept,
    interval, f, df, p_value, null, covariance), comparison, and details with everything else.

    [bold]Examples[/bold]

    percert audit groups predictions.csv --attributes countries.csv --attribute log_gdp

    percert audit groups ours.parquet --against pgd.parquet --pretrained start.csv --attributes
    countries.csv --attribute log_gdp --out report/

    percert audit groups --model squeezenet1_0 --weights squeezenet.safetensors --images photos/
    --groups photos.csv --attributes countries.csv --json
    """
    from percert.audit.group_files import GroupFiles, audit_group_files
    from percert.cli.audit_groups_show import show_audit
    from percert.fairness.audit_result import AuditSettings
    from percert.fairness.predictions import PREDICTION_COLUMNS

    running = bool(model or weights or images or group_file)
    if running == (predictions is not None):
        raise typer.BadParameter(
            "give either a file of predictions, or --model, --images and --groups",
            param_hint="PREDICTIONS",
        )
    if attributes is None and (attribute or covariate):
        raise typer.BadParameter(
            "expected a table that has it: --attributes",
            param_hint="--attribute" if attribute else "--covariate",
        )
    if running and (not model or images is None or group_file is None):
        raise typer.BadParameter(
            "--model, --images and --groups belong together", param_hint="--model"
        )
    settings = AuditSettings(
        smallest=min_size,
        covariances=once(covariance) or AuditSettings.covariances,
        confidence=confidence,
        draws=draws,
        seed=seed,
        drop_missing=drop_missing,
        magnitude=magnitude,
        pairs=pair,
        outcome=outcome,
        positive=positive,
        margin=margin,
        by=once(by),
        strata=once(within),
        covariates=once(covariate),
    )
    files = GroupFiles(
        predictions=predictions,
        models=model or (),
        weights=weights or (),
        images=images,
        groups=group_file,
        split=split,
        attributes=attributes,
        attribute=once(attribute),
        against=against,
        before=before or (),
        pretrained=pretrained,
        columns=column_names(column or [], PREDICTION_COLUMNS),
        threshold=threshold,
    )
    audit = audit_group_files(
        files, settings, out=out, device=device, command=command_line(), watch=with_progress
    )
    if as_json:
        emit_json(audit.to_dict())
    else:
        show_audit(audit)
