"""The attack: inside its ball and [0, 1], and as strong as the closed form where there is one."""

from PIL import Image

from experiments.photographs import as_tensor
from percert import certify, create_metric
from percert.evaluation.copies.attack import CrossThreshold, cross, random_start
from percert.evaluation.copies.detector import MetricDetector
from percert.tensors import l2_norm


def test_reaches_the_certified_radius_of_a_linear_metric(photographs: list[Image.Image]) -> None:
    """At 8 x 8 the thumbnail is the image less its mean, and the radius of a copy is exact: no
    attack below it succeeds, and one a little above it does where [0, 1] is not in the way.
    """
    metric = create_metric("thumbnail-8", device="cpu")
    detector = MetricDetector(metric)
    images = 0.4 + 0.2 * as_tensor([image.resize((8, 8)) for image in photographs])
    vectors = detector.describe(images).vectors
    certificate = certify.copies(metric, images, images, 0.1)
    for place, radius in enumerate(certificate.radius.tolist()):
        one, reference = images[place : place + 1], vectors[place : place + 1]
        for share, broken in ((0.999, False), (1.02, True)):
            eps = share * radius
            start = one + random_start(one, eps, seed=0)
            goal = CrossThreshold(reference[:, None], 0.1, evade=True)
            moved, hidden = cross(detector, goal, one, eps, 100, start)
            assert hidden.item() == broken, share
            assert l2_norm(moved - one).item() <= eps
            distance = detector.distances(detector.describe(moved).vectors, reference).item()
            assert (distance > 0.1) == broken


def test_stays_in_the_ball_and_in_range(photographs: list[Image.Image]) -> None:
    detector = MetricDetector(create_metric("thumbnail-8", device="cpu"))
    images = as_tensor(photographs)
    vectors = detector.describe(images).vectors
    # A threshold that nothing reaches keeps the attack going to its last step.
    for eps in (0.5, 50.0):
        goal = CrossThreshold(vectors[:, None], 2.0, evade=True)
        start = images + random_start(images, eps, seed=1)
        moved, hidden = cross(detector, goal, images, eps, 5, start)
        assert not hidden.any()
        assert (l2_norm(moved - images) <= eps).all()
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert (l2_norm(moved - images) > 0).all()
