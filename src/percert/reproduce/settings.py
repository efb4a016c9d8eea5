"""The settings of Human Imperceptible Attacks beside the defaults here."""

from percert.attacks.human_perc_ot import HumanPercOTLiteral
from percert.reproduce.item import Compared, Findings, Setting


def table_5(setting: Setting) -> Findings:
    """Section 3.2's and Table 5's settings; ``setting`` changes nothing about them."""
    del setting
    attack = HumanPercOTLiteral()
    return Findings(
        (
            Compared("lambda", 1.0, attack.lam),
            Compared("step size of Algorithm 1", 0.1, attack.step),
            Compared("steps N of Algorithm 1", 100, attack.steps),
            Compared("steps between gradients of the cost", 5, attack.refresh),
            Compared("confidence a", 0.0, attack.confidence),
        ),
        (
            f"The cost is {attack.cost} by default, PieAPP in the paper, whose weights have to be "
            "had first.",
            "Table 5's settings of training (learning rate 0.1, momentum 5e-4, T1 = T2 = 3) are "
            "options of percert train; a momentum of 5e-4 reads like a weight decay.",
        ),
        same=True,
    )
