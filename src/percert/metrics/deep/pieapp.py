"""PieAPP: a network's estimate of how visible the errors of an image are to people."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.metrics.deep.weight_files import WeightFile, find_weights
from percert.metrics.metric import Metric, check_pair
from percert.models.weights import read_weights, seeded
from percert.tensors import Embeddings, Images, Vector

FILE = WeightFile(
    ("PieAPPv0.1.pth",),
    "PieAPP's weights as piq publishes them",
    "https://github.com/photosynthesis-team/piq/releases/download/v0.5.4/PieAPPv0.1.pth",
    "0937b01480c7a637ae3018af755faa8ecde4788b52bb246b7ae62cf96fb6baf0",
)
#: Side of the patches, and the step between them (the paper's sparse sampling).
PATCH = 64
STRIDE = 27
#: Channels of the eleven convolutions; features are taken after the odd ones from the third on.
CHANNELS = (64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512)
FEATURES = 120832
COARSEST = 2048
#: What the paper multiplies a score with, and what keeps the sum of weights from 0.
SIGMOID = 0.01
FLOOR = 1e-6


class PieAPP(Metric):
    """PieAPP, less its value at identity (Prashnani, Cai, Mostofi, Sen, CVPR 2018).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape, sides of at least 64 pixels,
    and gives ``(n,)``: the mean over patches of 64 pixels, a step of ``stride`` apart, of a learnt
    error, weighted by its learnt importance. The network compares with a preference, not a
    distance: it is not symmetric, below 0 for a candidate that it takes to be better than the
    reference, and its gradient at identity need not be 0. Gradients reach both images. The patches
    overlap, so it costs several times a VGG: a larger ``stride`` makes a cheaper cost for attacks.

    ``checkpoint`` is the file ``PieAPPv0.1.pth`` of piq's releases or a folder with it, or
    ``"random"`` for seeded random weights that make a distance: biases of 0 and no negative weight
    in the last layers. ``"untrained"`` leaves these as they come: a score with a sign, like the
    published one, whose gradient at identity is not 0. Without it, it is looked for where
    :func:`~percert.metrics.deep.weight_files.find_weights` looks, and fetched. Raises
    ``ValueError`` that says what is missing and where to put it.

    >>> metric = PieAPP("random")
    >>> image = torch.rand(1, 3, 64, 64)
    >>> metric(image, image)
    tensor([0.])
    """

    def __init__(self, checkpoint: str | Path | None = None, *, stride: int = STRIDE) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"pieapp: expected a stride of at least 1, found {stride}")
        self.stride = stride
        if str(checkpoint) in ("random", "untrained"):
            seeded(self._build)
            if str(checkpoint) == "random":
                self._make_a_distance()
        else:
            with torch.device("meta"):  # 62 million random weights would be thrown away
                self._build()
            self._load(None if checkpoint is None else Path(checkpoint))
        self.eval().requires_grad_(False)

    def _build(self) -> None:
        before = 3
        for index, channels in enumerate(CHANNELS, 1):
            self.add_module(f"conv{index}", nn.Conv2d(before, channels, 3, padding=1))
            before = channels
        self.fc1_score = nn.Linear(FEATURES, 512)
        self.fc2_score = nn.Linear(512, 1)
        self.fc1_weight = nn.Linear(COARSEST, 512)
        self.fc2_weight = nn.Linear(512, 1)
        self.ref_score_subtract = nn.Linear(1, 1)

    def _make_a_distance(self) -> None:
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    layer.bias.zero_()
            for layer in (self.fc2_score, self.fc2_weight, self.ref_score_subtract):
                layer.weight.abs_()

    def _load(self, given: Path | None) -> None:
        path = find_weights(FILE, "pieapp", given)
        state = read_weights(path)
        scale = state.get("ref_score_subtract.weight")
        if scale is not None and scale.ndim == 1:  # so it is in the published file
            state["ref_score_subtract.weight"] = scale.unsqueeze(1)
        for key, value in self.state_dict().items():
            if key not in state or state[key].shape != value.shape:
                raise ValueError(
                    f"{path}: not the weights of PieAPP: expected {key} of {tuple(value.shape)}"
                )
        self.load_state_dict({key: state[key] for key in self.state_dict()}, assign=True)

    def features(self, images: Images) -> tuple[Embeddings, Embeddings]:
        """All features and the coarsest of each patch: ``(n p, 120832)`` and ``(n p, 2048)``."""
        pixels = 255 * images.to(self.fc2_score.weight)
        patches = pixels.unfold(2, PATCH, self.stride).unfold(3, PATCH, self.stride)
        layer = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, PATCH, PATCH)
        kept = []
        for index in range(1, len(CHANNELS) + 1):
            layer = self.get_submodule(f"conv{index}")(layer).relu()
            if index % 2 and index > 1:
                kept.append(layer.flatten(1))
            elif index % 2 == 0:
                layer = F.max_pool2d(layer, 2)
        return torch.cat(kept, 1), kept[-1]

    def from_features(self, reference: tuple[Embeddings, Embeddings], candidate: Images) -> Vector:
        """The distance of ``candidate`` to what :meth:`features` made of the reference."""
        fine, coarse = self.features(candidate)
        first = self.fc1_score
        hidden = F.linear(reference[0] - fine, first.weight)
        # All biases after this cancel in the difference to identity, where the hidden layer is the
        # bias alone.
        hidden = (hidden + first.bias).relu() - first.bias.relu()
        error = SIGMOID * F.linear(hidden, self.fc2_score.weight) * self.ref_score_subtract.weight
        weight = self.fc2_weight(self.fc1_weight(reference[1] - coarse).relu()) + FLOOR
        error, weight = (part.view(len(candidate), -1) for part in (error, weight))
        total = weight.sum(1)
        return (error * weight).sum(1) / torch.where(total.abs() < FLOOR, FLOOR, total)

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        reference, candidate = check_pair(reference, candidate, smallest_side=PATCH, name="pieapp")
        if len(reference) == 0:
            return self.fc2_score.weight.new_zeros(0)
        return self.from_features(self.features(reference), candidate)
