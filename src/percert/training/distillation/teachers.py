"""Teachers: networks that map images to the embeddings which a student imitates.

DreamSim's ensemble and its parts come through their authors' package, classifiers as
:func:`percert.models.load_classifier` finds them.
"""

import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from percert.check import check_images
from percert.files import file_sha256
from percert.images import Resize
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.deep.dreamsim import PARTS, SIDE, default_folder, load_dreamsim
from percert.models.card import PreparedClassifier, Preprocessing
from percert.models.imagenet_networks import SqueezeNet
from percert.models.load import PACKAGES, load_classifier
from percert.models.weights import load_weights
from percert.tensors import Embeddings, Images


class Teacher(Protocol):
    """Maps sRGB images ``(n, 3, h, w)`` in [0, 1] of any size to embeddings ``(n, d)``, float32.

    Resizing and normalisation live inside. ``fingerprint`` names the weights and everything else
    that an embedding depends on: two teachers of one fingerprint give the same embeddings.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, images: Images, /) -> Embeddings: ...


class NetworkTeacher:
    """A teacher made of a network whose ``embed`` gives ``(n, d)`` or a map ``(n, d, h', w')``.

    Maps are averaged over positions. Evaluated without gradients, on the images' device, in
    float32, or in bf16 where ``bf16`` is set: a teacher certifies nothing. ``identity`` names what
    the embedding depends on beside the weights that torch sees.

    >>> network = nn.Conv2d(3, 5, 2).requires_grad_(False)
    >>> teacher = NetworkTeacher("mine", network, network, identity="2 x 2")
    >>> teacher(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        embed: Callable[[Tensor], Tensor],
        *,
        identity: str,
        bf16: bool = False,
    ) -> None:
        self.name = name
        self.bf16 = bf16
        self._network = network.eval().requires_grad_(False)
        self._embed = embed
        parts = f"{name}\n{identity}\n{'bf16' if bf16 else 'float32'}\n{weights_hash(network)}"
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()
        self._device = torch.device("cpu")

    def __call__(self, images: Images, /) -> Embeddings:
        check_images(images)
        if images.device != self._device:
            self._network.to(images.device)
            self._device = images.device
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            found = self._embed(images.float())
        if found.ndim == 4:
            found = found.mean((2, 3))
        if found.ndim != 2 or len(found) != len(images):
            raise ValueError(
                f"teacher {self.name}: expected embeddings (n, d) for {len(images)} images, "
                f"found {tuple(found.shape)}"
            )
        return found.float().clone()


#: Files of the folder that hold weights or say how they are used.
WEIGHTS = (".pth", ".pt", ".bin", ".tar", ".safetensors", ".json")


class DreamSimTeacher:
    """``images -> (n, d)``: the package's own embedding, of images resized to 224 x 224."""

    def __init__(self, part: str, folder: Path, model: Any, *, bf16: bool) -> None:
        self.name = f"dreamsim:{part}"
        self.part, self.folder, self.bf16 = part, folder, bf16
        self.fingerprint = _fingerprint(part, folder, bf16)
        self._resize = Resize((SIDE, SIDE), "bicubic")
        # The package keeps parts of itself outside of torch's reach: one model a device.
        self._models: dict[str, Any] = {"cpu": model}

    def __call__(self, images: Images, /) -> Embeddings:
        check_images(images)
        device = str(images.device)
        if device not in self._models:
            self._models[device] = load_dreamsim(self.part, self.folder, device)
        small = self._resize(images.float()).clamp(0, 1)
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            found: Tensor = self._models[device].embed(small)
        # The package squeezes a batch of one.
        return found.reshape(len(images), -1).float().clone()


def dreamsim_teacher(part: str, weights: Path | None, *, bf16: bool = False) -> DreamSimTeacher:
    """The teacher of a part of DreamSim, its checkpoints in ``weights`` or in percert's cache.

    Raises ``ValueError`` where the package or its weights cannot be had.
    """
    folder = default_folder() if weights is None else weights
    model = load_dreamsim(part, folder, "cpu")
    return DreamSimTeacher(part, folder, model, bf16=bf16)


def _fingerprint(part: str, folder: Path, bf16: bool) -> str:
    """A hash over the files of weights, since torch does not see what the package makes of them."""
    try:
        release = version("dreamsim")
    except PackageNotFoundError:
        release = "unknown"
    digest = hashlib.sha256(f"dreamsim {release} {part} {bf16}\n".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in WEIGHTS:
            digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()


KINDS = (
    "dreamsim, dreamsim:PART, timm:NAME, torchvision:NAME, the name or TOML file of a classifier "
    "card, or package.module:factory"
)


def load_teacher(spec: str, weights: Path | None = None, *, bf16: bool = False) -> Teacher:
    """The teacher that ``spec`` names.

    - ``dreamsim`` is the ensemble, ``dreamsim:dino_vitb16``, ``dreamsim:clip_vitb32`` and
      ``dreamsim:open_clip_vitb32`` its parts; ``weights`` is the folder of its checkpoints;
    - ``timm:NAME`` and ``torchvision:NAME`` are those packages' networks without their classifier;
      ``weights`` a file of the whole network's weights, instead of a download;
    - a classifier card (``squeezenet1_0``, ``my.toml``) or ``package.module:factory`` as
      :func:`percert.models.load_classifier` takes them: the network's ``embed``, or what enters its
      last linear layer.

    ``bf16`` evaluates it in bf16. Raises ``ValueError`` for what is not known, cannot be imported
    or has no weights here: the message says what to fetch and where to put it.

    >>> load_teacher("dreamsim:vit_giant")
    Traceback (most recent call last):
    ValueError: teacher: dreamsim has no part 'vit_giant'; expected ensemble, dino_vitb16, ...
    """
    kind, _, rest = spec.partition(":")
    if kind == "dreamsim":
        part = rest or "ensemble"
        if part not in PARTS:
            raise ValueError(f"teacher: dreamsim has no part {part!r}; expected {', '.join(PARTS)}")
        return dreamsim_teacher(part, weights, bf16=bf16)
    if kind in PACKAGES and rest:
        return _package_teacher(kind, rest, weights, bf16)
    if not spec or spec.endswith(":"):
        raise ValueError(f"teacher: expected {KINDS}, found {spec!r}")
    try:
        model = load_classifier(spec, "cpu", weights)
    except ValueError as error:
        if str(error).startswith("model: expected"):
            raise ValueError(f"teacher: expected {KINDS}, found {spec!r}") from None
        raise ValueError(f"teacher: {error}") from None
    return classifier_teacher(spec, model, bf16=bf16)


def classifier_teacher(name: str, model: nn.Module, *, bf16: bool = False) -> Teacher:
    """A teacher from a classifier of images in [0, 1]: ``model.embed``, or its last layer's input.

    >>> import torch
    >>> from torch.nn import Flatten, Linear, Sequential
    >>> head = Sequential(Flatten(), Linear(12, 7), Linear(7, 10))
    >>> classifier_teacher("mine", head)(torch.rand(2, 3, 2, 2)).shape
    torch.Size([2, 7])
    """
    if isinstance(model, SqueezeNet | EmbeddingMetric):
        return NetworkTeacher(name, model, model.embed, identity="embed", bf16=bf16)
    embed = last_linear_input(model)
    if embed is None:
        raise ValueError(f"teacher {name}: the network has no linear layer whose input could serve")
    identity = f"input of the last linear layer, {_preparation(model)}"
    return NetworkTeacher(name, model, embed, identity=identity, bf16=bf16)


def last_linear_input(model: nn.Module) -> Callable[[Images], Embeddings] | None:
    """A function from images to what enters ``model``'s last linear layer, ``(n, d)``.

    ``None`` for a model that has no such layer. The function raises ``ValueError`` where the layer
    does not run.
    """
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        return None

    def embed(images: Images) -> Embeddings:
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            model(images)
        finally:
            handle.remove()
        if not seen:
            raise ValueError(f"{type(model).__name__}: its last linear layer did not run")
        return seen[-1].flatten(1)

    return embed


def _package_teacher(kind: str, name: str, weights: Path | None, bf16: bool) -> Teacher:
    try:
        network, preparation = PACKAGES[kind](name, pretrained=weights is None)
    except ValueError as error:
        hint = ""
        if "cannot be had" in str(error):
            hint = (
                f"; on a machine with a network save {kind}'s state_dict of {name} as "
                "safetensors, put the file anywhere here and name it as the teacher's weights"
            )
        raise ValueError(f"teacher: {error}{hint}") from None
    if weights is not None:
        load_weights(network, weights)
    model = PreparedClassifier(preparation, network)
    if kind == "timm" and hasattr(network, "reset_classifier"):
        network.reset_classifier(0)  # type: ignore[operator]  # nn.Module's attributes are untyped
        identity = f"without classifier, {_preparation(model)}"
        return NetworkTeacher(f"{kind}:{name}", model, model, identity=identity, bf16=bf16)
    return classifier_teacher(f"{kind}:{name}", model, bf16=bf16)


def _preparation(model: nn.Module) -> str:
    """A hash of how images are prepared, which the hash of the weights does not see."""
    for module in model.modules():
        if isinstance(module, Preprocessing):
            held = (module.mean.flatten().tolist(), module.std.flatten().tolist())
            said = repr((held, module.channels, module.scale, module.resize))
            return hashlib.sha256(said.encode()).hexdigest()
    return "prepares its images itself"
