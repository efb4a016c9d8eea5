"""What may and may not be concluded from a test, as sentences."""

from percert.fairness.result import LEVEL

#: Fewer groups than this are called few.
FEW = 20


def slope_null(attribute: str) -> str:
    """The null hypothesis of the F-test."""
    return f"Across the groups, accuracy does not depend linearly on {attribute}: the slope is 0."


def slope_may(
    p_value: float,
    slope: float,
    interval: tuple[float, float],
    groups: int,
    attribute: str,
    confidence: float,
) -> str:
    """What the F-test of one model allows to say."""
    between = (
        f"between {interval[0]:+.4g} and {interval[1]:+.4g} ({confidence:.0%} confidence interval)"
    )
    if p_value < LEVEL:
        sign = "higher" if slope > 0 else "lower"
        return (
            f"Rejected at the level {LEVEL:g} (p = {p_value:.4g}): over these {groups} groups, "
            f"accuracy is associated with {attribute}. It is {sign} where {attribute} is higher: "
            f"{slope:+.4g} for each unit, {between}."
        )
    return (
        f"Not rejected at the level {LEVEL:g} (p = {p_value:.4g}): these {groups} groups do not "
        f"show that accuracy depends on {attribute}. They do not show that it does not, either: "
        f"slopes {between} are compatible with them."
    )


def slope_may_not(attribute: str, groups: int) -> str:
    """What the F-test of one model does not allow to say."""
    few = (
        f" {groups} groups are few: one alone can make or unmake the result (see Cook's distance)."
        if groups < FEW
        else ""
    )
    return (
        f"Not that {attribute} causes the difference: this is an association across groups, which "
        "also differ in what is pictured, how, and by whom. Not that it holds within a group, or "
        "for single images. Not for other data, classes or models than those tested. The "
        "covariance of the groups' errors is an assumption: look at the others beside it, and "
        "choose one before looking." + few
    )


def holm_note(attributes: int) -> str:
    """What is said where several attributes are tested."""
    return (
        f"{attributes} attributes were tested on the same predictions, so that one in twenty would "
        "come out significant by chance alone. The p-values beside them are Holm's: they hold the "
        f"chance of any false alarm among them at {LEVEL:g}. Only those decide."
    )


def models_note(models: int) -> str:
    """What is said where several models of one set are tested one by one."""
    return (
        f"{models} models were tested one by one. They were judged on the same images, so their "
        "tests are no independent repetitions: that many are significant says how much the finding "
        "depends on the luck of training, not how sure it is for other images."
    )


def measures_note(models: int) -> str:
    """What is said where there are too many models to draw intervals for the usual measures."""
    return (
        f"Bootstrap intervals of the usual measures are drawn for up to {models} models; audit one "
        "alone for its own."
    )


def comparison_null(name: str, other: str, magnitude: bool) -> str:
    """The one-sided null hypothesis between two sets of models."""
    what = "mean size of the slopes" if magnitude else "mean slope"
    return f"The {what} of {name} is at least that of {other}."


def comparison_may(
    p_value: float, name: str, other: str, difference: float, magnitude: bool
) -> str:
    """What a test between two sets allows to say."""
    what = "slopes' size" if magnitude else "slope"
    if p_value < LEVEL:
        return (
            f"Rejected at the level {LEVEL:g} (p = {p_value:.4g}): trained again in the same way, "
            f"on the same data, the mean {what} of {name} would be smaller than that of {other}; "
            f"here by {difference:.4g}."
        )
    return (
        f"Not rejected at the level {LEVEL:g} (p = {p_value:.4g}): these models do not show that "
        f"the mean {what} of {name} is smaller than that of {other} (here by {difference:.4g}). "
        "They do not show that it is not, either."
    )


def comparison_may_not(name: str, any_negative: bool, magnitude: bool) -> str:
    """What a test between two sets does not allow to say."""
    sign = (
        " Some slopes are negative: a smaller slope is then not a fairer one, as only 0 means no "
        "dependence; compare their sizes."
        if any_negative and not magnitude
        else ""
    )
    return (
        "Only the randomness of training was sampled: all models share the training data, the "
        "images and the groups, so nothing follows for other data, images or groups. With enough "
        "models the smallest difference becomes significant: look at its size. Not that "
        f"{name} is fair: its slope may well differ from 0, and a slope can also fall because "
        "accuracy falls for all." + sign
    )
