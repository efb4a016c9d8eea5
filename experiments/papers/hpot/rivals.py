"""Every attack of Human Imperceptible Attacks and of this library, by how long it takes."""

from dataclasses import dataclass, replace

from experiments.papers.item import Setting
from experiments.papers.photographs import attack_photographs, kept_rows
from percert.evaluation.attack_runs.read import AttackRuns

#: The paper's name of its attack, on every page.
LITERAL = "Human_Perc_OT (a = {})"
#: About a second a photograph on a CPU, and less.
QUICK = {
    "PGD (L2)": "ascent:rescale_steps=0,loss=cross-entropy",
    "PGD (L2), least multiple as a file": "ascent:loss=cross-entropy",
    "PGD (L2), truncated to 8 bits in each step": "human-perc-ot-literal:lam=0,validate=truncate",
    "PGD (L2 1, projected)": "pgd:norm=l2,eps=1",
    "PGD (Linf 1/255, projected)": "pgd:norm=linf,eps=0.003921569",
    LITERAL.format(0): "human-perc-ot-literal",
    LITERAL.format(1): "human-perc-ot-literal:confidence=1",
    LITERAL.format(5): "human-perc-ot-literal:confidence=5",
    "C&W (3 x 30 steps)": "cw:steps=30,search_steps=3",
    "ssim-sqp": "ssim-sqp",
    "ssim-sqp, cost=seen": "ssim-sqp:cost=seen",
}
#: From one to ten seconds a photograph.
SLOWER = {
    "PerC_AL (100 steps)": "perc-al:steps=100",
    "NPTM (PPGD), AlexNet": "ppgd:metric=alexnet",
    "NPTM (LPA), AlexNet": "lpa:metric=alexnet,steps=5",
    "NPTM (PPGD), own features": "ppgd",
    "NPTM (LPA), own features": "lpa",
    "DDN (40 steps)": "ddn:steps=40",
    "FMN (40 steps)": "fmn:steps=40",
    "Human_Perc_OT (a = 0), cost ST-LPIPS": "human-perc-ot-literal:cost=st-lpips-alex",
    "Human_Perc_OT (a = 0), cost PieAPP, untrained": "human-perc-ot-literal:cost=pieapp-untrained",
    "human-perc-ot": "human-perc-ot",
    "ssim-sqp, through JPEG 75": "ssim-sqp:survive=jpeg-75",
    "ssim-sqp, through JPEG 75 and 4 bits": "ssim-sqp:survive=jpeg-75+bits-4",
}
#: More than a minute a photograph: the settings of its own work.
SLOWEST = {"PerC_AL": "perc-al"}
#: Table 3's three weights of the cost, with a cost whose gradient is not 0 at the photograph.
WEIGHED = {
    "lambda 0.5": "human-perc-ot-literal:cost=pieapp-untrained,lam=0.5",
    "lambda 1": "human-perc-ot-literal:cost=pieapp-untrained",
    "lambda 2": "human-perc-ot-literal:cost=pieapp-untrained,lam=2",
}


@dataclass(frozen=True)
class Counts:
    """How many photographs, the first of the set, each kind of attack is run on.

    ``clean`` of them, unattacked, say how often a detector is wrong.
    """

    quick: int
    slower: int
    slowest: int
    weighed: int
    clean: int = 300

    @property
    def most(self) -> int:
        """The photographs that any attack is run on."""
        return max(self.quick, self.slower, self.slowest, self.weighed)


def attack_all(setting: Setting, counts: Counts) -> AttackRuns:
    """Run everything that is not there yet; the rows of all attacks that were asked for."""
    for attacks, count in (
        (QUICK, min(counts.quick, counts.slower)),
        (SLOWER, counts.slower),
        (WEIGHED, counts.weighed),
        (SLOWEST, counts.slowest),
        (QUICK, counts.quick),
    ):
        if count:
            attack_photographs(replace(setting, images=count), list(attacks.values()))
    everything = {**QUICK, **SLOWER, **SLOWEST, **WEIGHED}
    return kept_rows(setting, list(everything.values()))
