"""What a student is asked for: the teacher's embeddings, its similarities, indifference to jitter.

Nothing is normalised but inside the similarities, and no norm is penalised for being large: a
target of norm s asks for embeddings of norm s, and radii grow with it.
"""

import torch.nn.functional as F
from torch import Tensor

from percert.tensors import Embeddings


def rmse(first: Embeddings, second: Embeddings) -> Tensor:
    """The mean over images of the l2 distance of two embeddings, a number.

    A sum over coordinates and not their mean: it differs from the root of the mean square by the
    constant sqrt(d), and is in the units of radii.

    >>> import torch
    >>> rmse(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
    tensor(5.)
    """
    # A root has no slope at 0.
    return (first - second).square().sum(1).clamp_min(1e-12).sqrt().mean()


def relational_loss(student: Embeddings, teacher: Embeddings) -> Tensor:
    """The mean squared difference of the cosines between images, of student and teacher.

    Over all pairs of different images; 0 for fewer than two. It asks for the teacher's angles and
    leaves lengths and rotations free.

    >>> import torch
    >>> h = torch.randn(5, 3)
    >>> relational_loss(7 * h, h).item() < 1e-12
    True
    """
    count = len(student)
    if count < 2:
        return student.sum() * 0
    ours, theirs = (F.normalize(x, dim=1) for x in (student, teacher))
    difference = (ours @ ours.T - theirs @ theirs.T).square()
    return (difference.sum() - difference.diagonal().sum()) / (count * (count - 1))
