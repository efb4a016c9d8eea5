"""The p-values that section 4 of Human Imperceptible Attacks prints, from its statistics."""

from percert.fairness.printed import f_p_value, t_p_value
from percert.reproduce.item import Compared, Findings, Setting


def p_values(setting: Setting) -> Findings:
    """The F-test's and the t-test's p-value; ``setting`` changes nothing about them."""
    del setting
    return Findings(
        (
            Compared("p of F = 5.392 with df (1, 39)", 0.02554, f_p_value(5.392, (1, 39))),
            Compared("p of t = 3.852, paired and one-sided, df 49", 0.00017, t_p_value(3.852, 49)),
            Compared("p of t = 3.852, two samples, one-sided, df 98", None, t_p_value(3.852, 98)),
            Compared(
                "p of t = 3.852, paired and two-sided, df 49",
                None,
                t_p_value(3.852, 49, "two-sided"),
            ),
        ),
        (
            "The paper speaks of a standard t-test between two means of 50 models each, which has "
            "98 degrees of freedom; the p-value that it prints is that of a paired one, with 49.",
            "The statistics themselves cannot be made again: predictions and models are not "
            "published.",
        ),
        same=True,
    )
