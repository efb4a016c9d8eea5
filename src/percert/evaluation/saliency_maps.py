"""Where people look first: saliency maps without weights (OpenCV), and by networks in a file."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.extras import install_extra
from percert.models import Preparation, load_classifier
from percert.models.preparation import Channels
from percert.tensors import Images

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Images ``(n, 3, h, w)`` in [0, 1] to maps ``(n, h, w)`` in [0, 1].
Saliency: TypeAlias = Callable[[Images], Tensor]

#: Maps that need no weights, and what makes them in OpenCV's contributed modules.
WEIGHTLESS = {
    "spectral-residual": "StaticSaliencySpectralResidual_create",
    "fine-grained": "StaticSaliencyFineGrained_create",
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class SaliencyCard:
    """A saliency network in an ONNX ``file``, and what is done before and after it.

    ``mean``, ``std``, ``channels``, ``scale`` and ``size`` as for classifiers
    (:class:`~percert.models.Preparation`); without a ``size`` images go in as large as the file
    says, or as they are. ``output`` is the place of the map among the outputs. ``sigmoid`` is
    applied to it where the file ends before; ``stretch`` spreads each map over [0, 1].
    """

    file: Path
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: Channels = "rgb"
    scale: float = 1.0
    size: tuple[int, int] | None = None
    output: int = 0
    sigmoid: bool = False
    stretch: bool = True


def create_saliency(spec: str, device: str = "cpu") -> tuple[Saliency, str]:
    """The saliency that ``spec`` names, and a text that tells it from others of that name.

    ``spec`` is ``"spectral-residual"`` (Hou and Zhang 2007) or ``"fine-grained"`` (Montabone and
    Soto 2010), both of OpenCV; an ONNX file, prepared for as U2-Net is; a TOML file, a
    :class:`SaliencyCard`; or ``package.module:factory``, a module from images in [0, 1] to maps.
    Raises ``ValueError`` for anything else, and where OpenCV or onnxruntime is missing.

    >>> create_saliency("spectral")
    Traceback (most recent call last):
    ValueError: saliency: expected spectral-residual, fine-grained, a file .onnx or .toml, or ...
    """
    if spec in WEIGHTLESS:
        return _opencv(spec)
    if spec.endswith(".onnx"):
        return _onnx(SaliencyCard(file=Path(spec)))
    if spec.endswith(".toml"):
        return _onnx(read_saliency_card(Path(spec)))
    if ":" in spec:
        network = load_classifier(spec, device)
        return _network(network, device), ""
    raise ValueError(
        f"saliency: expected {', '.join(WEIGHTLESS)}, a file .onnx or .toml, or "
        f"package.module:factory, found {spec!r}"
    )


def read_saliency_card(path: Path) -> SaliencyCard:
    """The card in the TOML file at ``path``; its ``file`` counts from there.

    Raises ``ValueError`` for a file that is missing or no TOML, and for unknown or missing keys.
    """
    try:
        entries: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from None
    known = [field.name for field in fields(SaliencyCard)]
    unknown = sorted(set(entries) - set(known))
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    if "file" not in entries:
        raise ValueError(f"{path}: expected a key 'file', the network's ONNX file")
    for key in ("mean", "std", "size"):
        if key in entries:
            entries[key] = tuple(entries[key])
    return SaliencyCard(**{**entries, "file": path.parent / str(entries["file"])})


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
    if not 0 <= card.output < len(session.get_outputs()):
        raise ValueError(f"{card.file}: has no output {card.output}")
    prepare = Preparation(
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
