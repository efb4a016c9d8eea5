"""A small convolutional classifier of MNIST's digits, and its training."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.check import check_images
from percert.tensors import Images


class MnistCNN(nn.Module):
    """Two convolutions and two linear layers; ``(n, 3, 28, 28)`` images to 10 logits.

    It sees the mean of the channels, so that for grey images any attack's gradient is the same in
    every channel, a third of the grey image's.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 5, padding=2)
        self.second = nn.Conv2d(16, 32, 5, padding=2)
        self.hidden = nn.Linear(32 * 7 * 7, 32)
        self.last = nn.Linear(32, classes)

    def forward(self, images: Images) -> Tensor:
        """The logits, ``(n, classes)``. Raises ``ValueError`` for images of another size.

        >>> MnistCNN()(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 10])
        """
        if tuple(check_images(images).shape[2:]) != (28, 28):
            raise ValueError(f"images: expected 28 x 28 pixels, found {tuple(images.shape[2:])}")
        features = F.max_pool2d(self.first(images.mean(1, keepdim=True)).relu(), 2)
        features = F.max_pool2d(self.second(features).relu(), 2)
        scores: Tensor = self.last(self.hidden(features.flatten(1)).relu())
        return scores


def train_mnist_cnn(
    images: Images, labels: Tensor, *, epochs: int = 8, batch: int = 100, seed: int = 0
) -> MnistCNN:
    """A classifier trained on ``images`` and ``labels`` with AdamW and a falling rate, in ``eval``.

    The result depends on the seed and the data alone; the caller's random numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MnistCNN().to(images.device)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    total = epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=total)
    for _ in range(epochs):
        shuffled = torch.randperm(len(images), generator=order).to(images.device)
        for start in range(0, len(images), batch):
            chosen = shuffled[start : start + batch]
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)
