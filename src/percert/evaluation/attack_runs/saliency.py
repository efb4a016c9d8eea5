"""How far attacks move saliency maps: the maps, their distances, the report."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.evaluation.attack_runs.compare import AttackNumbers, title
from percert.evaluation.attack_runs.distances import Progress, Row, measure_files, open_store
from percert.evaluation.attack_runs.pages import as_picture, choose_images, successes
from percert.evaluation.attack_runs.report import distances_table, medians_table, samples_of
from percert.evaluation.attack_runs.saliency_card import SaliencyCard, card_of, read_saliency_card
from percert.extras import install_extra
from percert.images import load_image
from percert.metrics.catalog import create_metric, metric_card
from percert.models import Preprocessing, load_classifier
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Block, Figure, Section, kept_figure
from percert.reports.plots import Cell, amplified, picture_grid
from percert.reports.table import number
from percert.runs import find_items, read_sample
from percert.tensors import Images

#: Images ``(n, 3, h, w)`` in [0, 1] to maps ``(n, h, w)`` in [0, 1].
Saliency: TypeAlias = Callable[[Images], Tensor]

#: Maps that need no weights, and what makes them in OpenCV's contributed modules.
WEIGHTLESS = {
    "spectral-residual": "StaticSaliencySpectralResidual_create",
    "fine-grained": "StaticSaliencyFineGrained_create",
}


def create_saliency(spec: str, device: str = "cpu") -> tuple[Saliency, str]:
    """The saliency that ``spec`` names, and a text that tells it from others of that name.

    ``spec`` is ``"spectral-residual"`` (Hou and Zhang 2007) or ``"fine-grained"`` (Montabone and
    Soto 2010), both of OpenCV; an ONNX file, prepared for as EGNet is where it is called so
    (``egnet.onnx``), else as U2-Net is; a TOML file, a
    :class:`~percert.evaluation.attack_runs.saliency_card.SaliencyCard`; or
    ``package.module:factory``, a module from images in [0, 1] to maps. Raises ``ValueError`` for
    anything else, and where OpenCV or onnxruntime is missing.

    >>> create_saliency("spectral")
    Traceback (most recent call last):
    ValueError: saliency: expected spectral-residual, fine-grained, a file .onnx or .toml, or ...
    """
    if spec in WEIGHTLESS:
        return _opencv(spec)
    if spec.endswith(".onnx"):
        return _onnx(card_of(Path(spec)))
    if spec.endswith(".toml"):
        return _onnx(read_saliency_card(Path(spec)))
    if ":" in spec:
        network = load_classifier(spec, device)
        return _network(network, device), ""
    raise ValueError(
        f"saliency: expected {', '.join(WEIGHTLESS)}, a file .onnx or .toml, or "
        f"package.module:factory, found {spec!r}"
    )


def as_maps(found: Any, size: Sequence[int], *, stretch: bool = False) -> Tensor:
    """What a network says as maps ``(n, h, w)`` of ``size``, in [0, 1].

    Takes ``(n, 1, h', w')`` or ``(n, h', w')``, or a sequence of such whose first is the map.

    >>> as_maps(torch.tensor([[[[2.0, 4.0]]]]), (1, 2), stretch=True)
    tensor([[[0., 1.]]])
    """
    first = found[0] if isinstance(found, (list, tuple)) else found
    if not isinstance(first, Tensor) or first.ndim not in (3, 4):
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise ValueError(f"saliency: expected maps (n, 1, h, w), found {shape}")
    maps = (first if first.ndim == 4 else first[:, None]).float()
    if maps.shape[1] != 1:
        raise ValueError(f"saliency: expected maps (n, 1, h, w), found {tuple(maps.shape)}")
    if not bool(maps.isfinite().all()):
        raise ValueError("saliency: the network gave NaN or infinite values")
    if tuple(maps.shape[2:]) != tuple(size):
        maps = F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
    if stretch:
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        maps = (maps - low) / (high - low).clamp_min(1e-12)
    return maps[:, 0].clamp(0, 1)


def _opencv(name: str) -> tuple[Saliency, str]:
    try:
        import cv2

        create = getattr(cv2.saliency, WEIGHTLESS[name])
    except (ImportError, AttributeError):
        raise ValueError(
            f"saliency {name}: needs OpenCV with its contributed modules: "
            f"{install_extra('saliency')}"
        ) from None

    def maps(images: Images) -> Tensor:
        found = []
        for image in (images.detach().clamp(0, 1) * 255).round().byte().cpu():
            done, one = create().computeSaliency(image.flip(0).permute(1, 2, 0).numpy().copy())
            if not done:
                raise ValueError(f"saliency {name}: OpenCV gave none of an image {image.shape}")
            found.append(torch.from_numpy(np.asarray(one, np.float32)))
        return as_maps(torch.stack(found), images.shape[2:])

    return maps, f"opencv-{cv2.__version__}"


def _onnx(card: SaliencyCard) -> tuple[Saliency, str]:
    try:
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ValueError(f"saliency: needs onnxruntime: {install_extra('onnx')}") from None
    if not card.file.is_file():
        raise ValueError(f"{card.file}: no such file")
    try:
        session = onnxruntime.InferenceSession(str(card.file), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # its errors share no class but this one
        raise ValueError(f"{card.file}: not an ONNX network ({str(error)[:200]})") from None
    source = session.get_inputs()[0]
    fixed = source.shape[2:] if len(source.shape) == 4 else [None]
    size = card.size or (tuple(fixed) if all(isinstance(n, int) for n in fixed) else None)
    outputs = len(session.get_outputs())
    if not -outputs <= card.output < outputs:
        raise ValueError(f"{card.file}: has no output {card.output}")
    prepare = Preprocessing(
        mean=card.mean, std=card.std, channels=card.channels, scale=card.scale, size=size
    )

    def maps(images: Images) -> Tensor:
        said = []  # one at a time: many exports have a fixed batch
        for shown in prepare(images.cpu()).split(1):
            said.append(
                torch.from_numpy(session.run(None, {source.name: shown.numpy()})[card.output])
            )
        found = torch.cat(said)
        return as_maps(
            found.sigmoid() if card.sigmoid else found, images.shape[2:], stretch=card.stretch
        )

    return maps, sha256(card.file.read_bytes()).hexdigest()[:16] + f" {card}"


def _network(network: nn.Module, device: str) -> Saliency:
    @torch.no_grad()
    def maps(images: Images) -> Tensor:
        return as_maps(network(images.to(device)), images.shape[2:]).cpu()

    return maps


#: Between two maps, in the order of the paper's Table 2.
DISTANCES = ("l1", "l2", "linf", "ssim")


def map_distances(reference: Tensor, maps: Tensor) -> list[dict[str, float | None]]:
    """l1, l2, linf and 1 - SSIM of each of ``maps`` ``(k, h, w)`` from ``reference`` ``(h, w)``.

    All in [0, 1]; l1 is a sum over pixels. SSIM is ``None`` for maps too small for its window.

    >>> map_distances(torch.zeros(2, 2), torch.full((1, 2, 2), 0.5))
    [{'l1': 2.0, 'l2': 1.0, 'linf': 0.5, 'ssim': None}]
    """
    change = (maps - reference).flatten(1)
    ssim: list[float | None] = [None] * len(maps)
    if min(maps.shape[1:]) >= metric_card("ssim").smallest_side:
        grey = maps[:, None].repeat(1, 3, 1, 1)
        with torch.no_grad():
            ssim = create_metric("ssim", device="cpu")(reference.expand_as(grey), grey).tolist()
    return [
        {"l1": l1, "l2": l2, "linf": linf, "ssim": one}
        for l1, l2, linf, one in zip(
            change.abs().sum(1).tolist(),
            change.norm(dim=1).tolist(),
            change.abs().amax(1).tolist(),
            ssim,
            strict=True,
        )
    ]


def saliency_distances(
    rows: Sequence[Row],
    originals: Path,
    methods: Mapping[str, tuple[Saliency, str]],
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """By method, the ``rows`` with the distances of the saliency maps for their own.

    Measured are the files that succeeded; elsewhere a distance is ``None``. ``methods`` are as
    :func:`~percert.evaluation.attack_runs.saliency.create_saliency` makes them. Keeps what it has
    measured
    in ``out``.
    """

    def measure(original: Images, others: Images, name: str) -> list[dict[str, float | None]]:
        maps = methods[name][0](torch.cat([original, others]))
        return map_distances(maps[0], maps[1:])

    found = measure_files(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        {name: how for name, (_, how) in methods.items()},
        open_store(out, "saliency", dict.fromkeys(DISTANCES, float)),
        measure,
        progress=progress,
    )

    def distances(row: Row, name: str) -> dict[str, float | None]:
        measured = found.get((row["attack"], row["image"], name), {})
        return {key: measured.get(key) for key in DISTANCES}

    return {name: [{**row, **distances(row, name)} for row in rows] for name in methods}


#: The distance that is drawn and written beside maps.
DRAWN = "ssim"


def saliency_section(
    name: str,
    place: int,
    entries: Sequence[AttackNumbers],
    rows: Sequence[Row],
    pictures: Sequence[Figure],
    folder: Path | None = None,
) -> Section:
    """A saliency method's section on all attacks; with ``folder`` its figure is written there."""
    blocks: list[Block] = [
        distances_table(
            entries,
            DISTANCES,
            f"Mean distances between the maps ({name}) of the originals and of the images that "
            "succeed as files; maps lie in [0, 1], L1 is a sum over pixels. The least of a column "
            "is marked *.",
        ),
        medians_table(entries, DISTANCES),
    ]
    samples = samples_of(entries, rows, DRAWN)
    if any(map(len, samples.values())):
        counts = {entry.attack: entry.attacked for entry in entries}
        png = boxes_and_cumulative(samples, counts, value_label=f"{title(DRAWN)} of the maps")
        blocks.append(
            kept_figure(
                folder,
                f"saliency-{place}.png",
                png,
                f"{title(DRAWN)} between maps. Left: quartiles and median, whiskers from the 5th "
                "to the 95th percentile. Right: the share of all attacked images within a "
                "distance.",
                f"Boxes and cumulative distributions of {title(DRAWN)} between saliency maps",
            )
        )
    return Section(f"Saliency by {name}", (*blocks, *pictures))


def saliency_pictures(
    rows: Sequence[Row],
    originals: Path,
    saliency: Saliency,
    count: int,
    *,
    place: int = 1,
    folder: Path | None = None,
) -> list[Figure]:
    """``count`` images and what the attacks made of them, above its map (Figures 6 and 11)."""
    items = {item.name: item for item in find_items(originals)}
    figures = []
    for shown, image in enumerate(choose_images(rows, count)):
        original = read_sample(items[image]).image
        some = successes(rows, image)
        pictures = torch.stack([original, *(load_image(row["path"]) for row in some)])
        maps = saliency(pictures)
        moved = map_distances(maps[0], maps[1:])
        notes = ["original"]
        for row, distances in zip(some, moved, strict=True):
            value = distances[DRAWN]
            notes.append(f"{row['attack']}\n{title(DRAWN)} of the map {number(value)}")
        changes, factor = amplified([(one - maps[0]).numpy() for one in maps])
        cells = [
            Cell(note, (as_picture(picture), one.numpy(), change))
            for note, picture, one, change in zip(notes, pictures, maps, changes, strict=True)
        ]
        png = picture_grid(cells)
        figures.append(
            kept_figure(
                folder,
                f"maps-{place}-{shown + 1}.png",
                png,
                f"{image}: the images, below each its saliency map, and how that differs from the "
                f"original's, around grey, times {factor:.3g}.",
                f"{image} and {len(some)} attacked versions of it, with their saliency maps",
            )
        )
    return figures


def lead(methods: Mapping[str, object], entries: Mapping[str, Sequence[AttackNumbers]]) -> str:
    """What the report is about, in a sentence."""
    attacks = max((len(some) for some in entries.values()), default=0)
    return f"How far {attacks} attacks move what draws the eye, by {', '.join(methods)}."
