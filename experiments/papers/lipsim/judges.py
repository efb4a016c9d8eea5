"""The metrics of LipSim's tables, by the names of their rows, as far as their weights are there."""

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from experiments.papers.digests import weights_stand
from experiments.papers.item import Setting, StandIn
from experiments.papers.networks import (
    Judge,
    PlainFeatures,
    catalog_judge,
    dreamsim_part,
    dreamsim_there,
    module_of,
    weights_folder,
)
from percert.metrics import LipSim
from percert.models import load_classifier

#: What stands for LipSim where its weights are not there.
OURS = "lipsim-tiny"
#: The authors' networks by their rows in Table 2, and the files that hold them in the data folder.
#: One name for several would have the numbers of one beside those of another.
MODELS = {
    f"LipSim of {teacher}, {training}": f"lipsim-{file}-{kind}"
    for teacher, file in (("DINO", "dino"), ("OpenCLIP", "open-clip"), ("DreamSim", "dreamsim"))
    for training, kind in (
        ("pre-trained", "pretrained"),
        ("margin 0.2", "0.2"),
        ("margin 0.5", "0.5"),
    )
}
#: How many values the teachers have, where they are not the ensemble.
WIDTHS = {"LipSim of DINO": 768, "LipSim of OpenCLIP": 512}
#: The one of Tables 1 and 3 and of the figures, by its natural score.
MAIN = "LipSim of DreamSim, margin 0.5"
#: DreamSim's parts as its authors fine-tuned them on NIGHT, which Tables 1 and 3 call CLIP and so
#: on: by the paper's name, and percert's.
PARTS = {"CLIP": "dreamsim-clip", "OpenCLIP": "dreamsim-open-clip", "DINO": "dreamsim-dino"}
#: The same by their rows in Table 4.
FINE_TUNED = {
    "CLIP ViT-B/32, fine-tuned": "dreamsim-clip",
    "DINO ViT-B/16, fine-tuned": "dreamsim-dino",
    "OpenCLIP ViT-B/32, fine-tuned": "dreamsim-open-clip",
}
#: Table 4's backbones as they were trained, by their names in timm.
TIMM = {
    "CLIP ViT-B/16": "vit_base_patch16_clip_224.openai",
    "CLIP ViT-B/32": "vit_base_patch32_clip_224.openai",
    "CLIP ViT-L/14": "vit_large_patch14_clip_224.openai",
    "DINO ViT-S/8": "vit_small_patch8_224.dino",
    "DINO ViT-S/16": "vit_small_patch16_224.dino",
    "DINO ViT-B/8": "vit_base_patch8_224.dino",
    "DINO ViT-B/16": "vit_base_patch16_224.dino",
    "OpenCLIP ViT-B/16": "vit_base_patch16_clip_224.laion2b",
    "OpenCLIP ViT-B/32": "vit_base_patch32_clip_224.laion2b",
    "OpenCLIP ViT-L/14": "vit_large_patch14_clip_224.laion2b",
    "MAE ViT-B/16, fine-tuned": "vit_base_patch16_224.mae",
}
#: What timm has, other than the paper, of a row.
NOT_THE_PAPERS = {"MAE ViT-B/16, fine-tuned": "timm's MAE ViT-B/16, not fine-tuned on NIGHT"}
#: The paper's metrics that percert has, by its names.
KNOWN = {"PSNR": "mse", "SSIM": "ssim", "LPIPS": "lpips-alex", "DISTS": "dists"}


def lipsim_there(setting: Setting) -> Judge:
    """The authors' LipSim of margin 0.5 where its weights are there, else ``lipsim-tiny``."""
    return lipsim_model(setting, MAIN) or stand_for_lipsim(setting, MAIN)


def stand_for_lipsim(setting: Setting, model: str, paper: str = "LipSim") -> Judge:
    """``lipsim-tiny`` in the place of the paper's ``model``, whose rows ``paper`` names."""
    words = f"{OURS} comes with percert, and was never trained on people's judgements."
    stand = StandIn(f"{model}, with the authors' weights", OURS)
    return Judge(OURS, paper, OURS, module_of(OURS, None, setting), words, stand)


def lipsim_model(setting: Setting, model: str, paper: str = "LipSim") -> Judge | None:
    """One of :data:`MODELS`, whose rows ``paper`` names; ``None`` where its file is not there."""
    places = [] if setting.data is None else [setting.data, setting.data / "weights"]
    names = [f"{MODELS[model]}{suffix}" for suffix in (".pth", ".pt", ".safetensors")]
    files = [place / name for place in places for name in names if (place / name).is_file()]
    if not files:
        return None
    stand = weights_stand(setting, f"{model}, with the authors' weights", files[:1])
    return Judge(
        paper if stand is None else files[0].name,
        paper,
        MODELS[model],
        network_in(files[0], model).to(setting.device),
        f"{model} is lipsim-small with the weights in {files[0].name}.",
        stand,
    )


def network_in(file: Path, model: str) -> nn.Module:
    """The authors' network ``model`` in its file; it keeps as many values as its teacher has."""
    network: nn.Module = LipSim("small", file, embedding=WIDTHS.get(model.split(",")[0]))
    return network.requires_grad_(False)


def lipsim_models(setting: Setting, main: str) -> list[Judge]:
    """Those of :data:`MODELS` that are there, and for ``main`` at least ``lipsim-tiny``."""
    found = [lipsim_model(setting, model, model) for model in MODELS]
    there = [one for one in found if one is not None]
    if not any(one.paper == main for one in there):
        there.append(stand_for_lipsim(setting, main, main))
    return there


def attacked_judges(setting: Setting) -> list[Judge]:
    """The metrics of Tables 1 and 3."""
    parts = [dreamsim_part(setting, paper, name) for paper, name in PARTS.items()]
    main = [lipsim_there(setting), dreamsim_there(setting)]
    return [*main, *(part for part in parts if part is not None)]


def natural_judges(setting: Setting, main: str, more: Iterable[str]) -> list[Judge]:
    """The metrics of Table 4, whose LipSim is ``main``, and of percert's own those of ``more``."""
    found = [
        *(catalog_judge(name, paper, setting) for paper, name in KNOWN.items()),
        *(timm_judge(setting, paper) for paper in TIMM),
        *(dreamsim_part(setting, paper, name) for paper, name in FINE_TUNED.items()),
        dreamsim_there(setting),
        *lipsim_models(setting, main),
        *(catalog_judge(name, "", setting) for name in more),
    ]
    return [one for one in found if one is not None]


def timm_file(setting: Setting, paper: str) -> Path | None:
    """The file of one of :data:`TIMM` in DATA/weights/timm, if it is there."""
    folder = weights_folder(setting)
    file = None if folder is None else folder / "timm" / f"{TIMM[paper]}.safetensors"
    return file if file is not None and file.is_file() else None


def timm_judge(setting: Setting, paper: str) -> Judge | None:
    """The cosine distance of what a network of timm gives, ``None`` where its file is not there.

    That is CLIP's and OpenCLIP's embedding behind the projection, DINO's and MAE's class token.
    Raises ``ValueError`` where timm cannot be imported or the file does not fit.
    """
    file = timm_file(setting, paper)
    if file is None:
        return None
    network = load_classifier(f"timm:{TIMM[paper]}", setting.device, file)
    vouched = weights_stand(setting, f"{paper} with its published weights", [file])
    here = NOT_THE_PAPERS.get(paper)
    return Judge(
        here or (paper if vouched is None else file.name),
        paper,
        TIMM[paper],
        PlainFeatures(network, network).eval(),
        "",
        vouched if here is None else StandIn(paper, here),
    )
