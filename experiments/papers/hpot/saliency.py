"""Table 2 and Figures 6 and 11 of Human Imperceptible Attacks: what attacks do to saliency maps."""

from collections.abc import Mapping

from experiments.papers.hpot.attacks import (
    attacks_of_files,
    differs,
    mean_of,
    named_rows,
    stands,
)
from experiments.papers.hpot.figures import SHOWN
from experiments.papers.item import Compared, Findings, MissingDataError, Setting, StandIn
from experiments.papers.networks import weights_folder
from experiments.papers.photographs import attack_photographs, folder_of
from experiments.papers.printed import HPOT_TABLE_2
from percert.evaluation.attack_runs.compare import number_attacks
from percert.evaluation.attack_runs.saliency import (
    DISTANCES,
    WEIGHTLESS,
    Saliency,
    create_saliency,
    saliency_distances,
    saliency_pictures,
)
from percert.reports.page import Figure

#: The files that EGNet may be in: a card (percert eval saliency), or the network itself.
EGNET = ("egnet.toml", "egnet.onnx")
TITLES = {"l1": "L1", "l2": "L2", "linf": "Linf", "ssim": "1 - SSIM"}


def table_2(setting: Setting) -> Findings:
    """Mean distances between the maps of originals and of attacked photographs."""
    methods, own = _methods(setting)
    attacks = attacks_of_files(setting)
    runs = attack_photographs(setting, list(attacks.values()))
    measured = saliency_distances(
        named_rows(runs.rows, attacks),
        folder_of(setting),
        methods,
        setting.out / "maps",
        progress=lambda done, total: setting.watch("maps of photographs", done, total),
    )
    rows: list[Compared] = []
    for place, name in enumerate(methods):
        for entry in number_attacks(measured[name], DISTANCES):
            # Beside the paper's stand those of the first method alone.
            printed = HPOT_TABLE_2.get(entry.attack) if not place else None
            rows += [
                Compared(f"{entry.attack}, {name}: mean {TITLES[key]}", paper, mean_of(entry, key))
                for key, paper in zip(DISTANCES, printed or (None,) * 4, strict=True)
            ]
    return Findings(
        tuple(rows),
        (*_words(methods, own), *differs()),
        stands=stands(setting, attacks, _stand(methods, own)),
    )


def figure_6(setting: Setting) -> Findings:
    """Photographs, what the attacks made of them, and the maps of each."""
    return _maps(setting, 0)


def figure_11(setting: Setting) -> Findings:
    """Other photographs than those of Figure 6."""
    return _maps(setting, SHOWN)


def _maps(setting: Setting, before: int) -> Findings:
    methods, own = _methods(setting)
    attacks = attacks_of_files(setting)
    runs = attack_photographs(setting, list(attacks.values()))
    rows = named_rows(runs.rows, attacks)
    saliency, _ = next(iter(methods.values()))
    figures: tuple[Figure, ...] = tuple(
        saliency_pictures(rows, folder_of(setting), saliency, before + SHOWN)[before:]
    )
    said = () if figures else ("No more photographs than those of Figure 6 succeeded.",)
    first = dict(list(methods.items())[:1])
    found = stands(setting, attacks, _stand(first, own))
    return Findings((), (*said, *_words(first, own), *differs()), figures, found)


def _methods(setting: Setting) -> tuple[dict[str, tuple[Saliency, str]], bool]:
    """EGNet where it is there, else OpenCV's two; and whether it is EGNet.

    Raises :class:`~experiments.papers.item.MissingDataError` where OpenCV has none.
    """
    folder = weights_folder(setting)
    files = [] if folder is None else [folder / name for name in EGNET]
    for file in files:
        if file.is_file():
            return {"EGNet": create_saliency(str(file), setting.device)}, True
    try:
        return {name: create_saliency(name) for name in WEIGHTLESS}, False
    except ValueError as error:
        raise MissingDataError(str(error)) from None


def _stand(methods: Mapping[str, tuple[Saliency, str]], own: bool) -> StandIn:
    """EGNet has no published digest: a file in its place is one that somebody calls so."""
    if own:
        return StandIn("EGNet with its authors' weights", "the file in DATA/weights")
    return StandIn("EGNet", f"OpenCV's {' and '.join(methods)}")


def _words(methods: Mapping[str, tuple[Saliency, str]], own: bool) -> tuple[str, ...]:
    if own:
        return ("Maps are those of EGNet, from the file in DATA/weights.",)
    return (
        f"Maps by OpenCV ({' and '.join(methods)}) are of contrast, and know no objects; EGNet "
        "marks the salient object: sizes of the changes do not compare, at most the order of the "
        "attacks does.",
        "The column that the paper calls SSIM grows with the change; here it is 1 - SSIM.",
    )
