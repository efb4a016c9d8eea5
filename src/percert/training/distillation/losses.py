"""What a student is asked for: the teacher's embeddings, its similarities, indifference to jitter.

Nothing is normalised but inside the similarities, and no norm is penalised for being large: a
target of norm s asks for embeddings of norm s, and radii grow with it.
"""

import torch.nn.functional as F
from torch import Tensor

from percert.tensors import Embeddings


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
