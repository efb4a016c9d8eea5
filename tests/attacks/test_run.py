"""The runner: batches that fit, images counted, and results that do not depend on either."""

import pytest
import torch

from percert.attacks import (
    LpBall,
    MoveEmbedding,
    Untargeted,
    create_attack,
    iter_attack,
    run_attack,
)
from percert.attacks.run import CountedModel
from percert.metrics.certified.lipsim import Thumbnail

from .closed_form import Linear, grey_images


def scene(count: int = 7):
    model, images = Linear(), grey_images(count)
    return model, images, Untargeted(model(images).argmax(1))


class Small:
    """A model on a device that holds no more than ``room`` images."""

    def __init__(self, model, room: int) -> None:
        self.model, self.room, self.sizes = model, room, []

    def __call__(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return self.model(images)


@pytest.mark.parametrize("name", ["pgd", "apgd", "square"])
def test_results_do_not_depend_on_the_batch_size(name):
    model, images, goal = scene()
    options = {"queries": 60} if name == "square" else {"steps": 10}
    attack = create_attack(name, eps=0.3, **options)
    whole = run_attack(model, images, goal, attack, batch_size=7).verdict.images
    for size in (1, 3):
        parts = run_attack(model, images, goal, attack, batch_size=size).verdict.images
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    model, images, goal = scene()
    attack = create_attack("apgd", eps=0.3, steps=5)
    small = Small(model, room=2)
    results = list(iter_attack(small, images, goal, attack, batch_size=7))
    assert [len(result.index) for result in results] == [1] * 7
    # 7 halves to 3, 3 to 1: what fits is found from above.
    assert [size for size in small.sizes if size > 2] == [7, 3]
    assert torch.cat([result.index for result in results]).tolist() == list(range(7))
    whole = run_attack(model, images, goal, attack, batch_size=7).verdict.images
    torch.testing.assert_close(
        torch.cat([result.verdict.images for result in results]), whole, rtol=0, atol=1e-6
    )
    even = [len(r.index) for r in iter_attack(Small(model, 4), images, goal, attack, batch_size=8)]
    assert even == [3, 3, 1]


def test_a_single_image_that_does_not_fit_is_an_error():
    model, images, goal = scene()
    with pytest.raises(torch.OutOfMemoryError):
        list(iter_attack(Small(model, 0), images, goal, create_attack("pgd")))


def test_images_are_counted_as_they_pass():
    model, images, goal = scene(4)
    attack = create_attack("pgd", eps=1e-6, steps=5)  # too little, so that all steps are done
    result = run_attack(model, images, goal, attack)
    assert result.model_calls == 4 * 6
    assert result.seconds > 0
    assert result.index.tolist() == [0, 1, 2, 3]
    counted = CountedModel(Thumbnail(8))
    goal_of_embedding = MoveEmbedding(grey_images(3, side=16))
    goal_of_embedding.scores(counted, grey_images(3, side=16, seed=2))
    assert counted.calls == 6  # the reference as well
    assert CountedModel(model).embed is None


def test_the_judge_gets_the_threat_and_the_metrics():
    model, images, goal = scene(3)
    attack = create_attack("pgd", norm="linf", eps=0.1)
    result = run_attack(
        model,
        images,
        goal,
        attack,
        threat=LpBall("linf", 0.05),
        metrics={"near": lambda a, b: (a - b).flatten(1).abs().amax(1)},
    )
    assert result.verdict.achieved.all()
    assert not result.verdict.success.all()
    assert torch.equal(result.verdict.distances["near"], result.verdict.distances["linf"])


def test_a_time_budget_of_nothing_stops_before_the_first_step():
    model, images, goal = scene(3)
    attack = create_attack("pgd", steps=1000)
    result = run_attack(model, images, goal, attack, seconds=-1.0)
    assert torch.equal(result.verdict.images, images)
    assert result.model_calls == 0


def test_watch_sees_every_batch_and_may_stop_it():
    model, images, goal = scene(4)
    seen = []

    def watch(done, total, active):
        seen.append((done, total, active))
        return done < 2

    attack = create_attack("pgd", eps=1e-6, steps=5)
    results = list(iter_attack(model, images, goal, attack, batch_size=2, watch=watch))
    assert seen == [(0, 6, 2), (1, 6, 2), (2, 6, 2)] * 2
    assert sum(result.model_calls for result in results) == 2 * 2 * 2


def test_seeds_belong_to_images():
    model, images, goal = scene(4)
    attack = create_attack("pgd", eps=1e-3, steps=1, step=0.0)
    seeds = torch.tensor([9, 8, 7, 6])
    mine = run_attack(model, images, goal, attack, seeds=seeds).verdict.images
    other = run_attack(model, images, goal, attack).verdict.images
    assert not torch.equal(mine, other)
    index = torch.tensor([2, 0])
    some = run_attack(model, images[index], goal.select(index), attack, seeds=seeds[index])
    assert torch.equal(some.verdict.images, mine[index])


def test_a_batch_size_of_nothing_is_refused():
    model, images, goal = scene(1)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, found 0"):
        run_attack(model, images, goal, create_attack("pgd"), batch_size=0)


def test_one_call_is_one_result_for_all_images():
    """More images than a batch, the last one not full: what the batches gave, in their order."""
    model, images, goal = scene(70)
    attack = create_attack("pgd", norm="linf", eps=0.05, steps=3)
    metrics = {"near": lambda a, b: (a - b).flatten(1).abs().amax(1)}
    parts = list(iter_attack(model, images, goal, attack, metrics=metrics))
    assert [len(part.index) for part in parts] == [32, 32, 6]
    whole = run_attack(model, images, goal, attack, metrics=metrics)
    assert whole.index.tolist() == list(range(70))
    assert whole.model_calls == sum(part.model_calls for part in parts)
    for name in ("images", "images_8bit", "margin", "margin_8bit", "achieved", "within_threat"):
        in_parts = torch.cat([getattr(part.verdict, name) for part in parts])
        assert torch.equal(getattr(whole.verdict, name), in_parts)
    assert set(whole.verdict.distances) == {"l1", "l2", "linf", "near"}
    for distance in whole.verdict.distances.values():
        assert len(distance) == 70
    assert whole.seconds > 0
    assert whole.cpu_seconds > 0


def test_no_images_are_a_result_of_none():
    def model(images):
        assert len(images), "nothing is asked of the model"
        return images

    images = grey_images(2)[:0]
    goal = Untargeted(torch.zeros(0, dtype=torch.long))
    metrics = {"near": lambda a, b: (a - b).flatten(1).abs().amax(1)}
    result = run_attack(model, images, goal, create_attack("pgd"), metrics=metrics)
    assert len(result.index) == len(result.verdict.success_8bit) == result.model_calls == 0
    assert result.verdict.images_8bit.shape == images.shape
    assert set(result.verdict.distances) == {"l1", "l2", "linf", "near"}
