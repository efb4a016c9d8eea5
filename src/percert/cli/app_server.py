"""``percert app``: the page in a browser, and the REST interface."""

from pathlib import Path
from typing import Annotated

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.options import DeviceOption, MaxMemoryOption, metric_and_file


@one_line_errors
@needs("app", given={"store": "search"}, sometimes=("fairness", "networks", "timm"))
def serve_app(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen. Anything but this machine's own loopback demands --token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="PERCERT_TOKEN",
            help="What clients must know, at least 12 characters. The variable keeps it out of the "
            "list of processes.",
            show_default=False,
        ),
    ] = None,
    api_only: Annotated[
        bool, typer.Option("--api-only", help="The REST interface without the page.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="A store to search, made by [bold]percert index add[/bold].",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="A classifier to attack: a TOML card, timm:NAME, torchvision:NAME, or "
            "package.module:factory; repeat it for several. Without it those whose weights the "
            "extra networks has installed.",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Its weights, one file for each --model, in order."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]",
            help="A further distance that needs weights; those that need none are always there.",
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Serve a study instead, and nothing else: a CSV file with columns "
            "reference,changed; observers say of each pair whether its pictures differ.",
            show_default=False,
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where a study's answers are counted, for [bold]percert eval people[/bold]; "
            "by default STUDY-answers.csv beside it.",
            show_default=False,
        ),
    ] = None,
    upload_mb: Annotated[
        int, typer.Option("--upload-mb", min=1, max=4096, help="All files of one request.")
    ] = 32,
    megapixels: Annotated[float, typer.Option(min=0.01, max=178, help="One image.")] = 16.0,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Attacks at once.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, help="One attack at most.")] = 120.0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
) -> None:
    """A page for comparing, judging, attacking, searching and auditing, and the same as REST.

    It is served on this machine alone, until Ctrl-C, and needs no internet. The interface is
    described at /api/v1/openapi.json. Uploads go to a temporary folder, and are removed.

    [bold]Examples[/bold]

    percert app

    percert app --store photos.store --model squeezenet1_0 --weights squeezenet.safetensors

    percert app --study pairs.csv

    PERCERT_TOKEN=$(openssl rand -hex 16) percert app --host 0.0.0.0 --api-only
    """
    from percert.app.forkserver import fork_server

    fork_server().start()  # it imports while this process does
    try:
        from percert.app.resources import Limits, Resources, name_classifiers
        from percert.app.server import check_host, serve
        from percert.app.study import StudyFiles
        from percert.device import resolve_device
        from percert.models.load import default_classifiers

        check_host(host, token)
        place = str(resolve_device(device))
        checkpoints: dict[str, Path | None] = {}
        for name, file in map(metric_and_file, metric or ()):
            checkpoints[name] = None if file is None else Path(file)
        loaded = Resources(
            device=place,
            checkpoints=checkpoints,
            classifiers=name_classifiers(
                default_classifiers() if model is None and not weights else model or (),
                weights or (),
            ),
            store=store,
        )
        serve(
            loaded,
            host=host,
            port=port,
            limits=Limits(
                upload_bytes=upload_mb * 2**20,
                pixels=round(megapixels * 1e6),
                jobs=jobs,
                job_seconds=seconds,
            ),
            token=token,
            api_only=api_only,
            study=None if study is None else StudyFiles(study, answers),
            ready=lambda address: complain(f"serving {address} until Ctrl-C"),
        )
    finally:
        fork_server().stop()
