"""Shape aliases. An image batch is always sRGB, float, (n, 3, h, w), in [0, 1]."""

from typing import TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, "n 3 h w"]
Features: TypeAlias = Float[Tensor, "n c h w"]
Embeddings: TypeAlias = Float[Tensor, "n k"]
Vector: TypeAlias = Float[Tensor, "n"]
Labels: TypeAlias = Int[Tensor, "n"]
