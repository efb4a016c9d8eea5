"""Figure 7 of Human Imperceptible Attacks: what survives a defence, on small data."""

from percert.evaluation.attacked_files import CLEAN
from percert.evaluation.defence_survival import defended_predictions, survivals
from percert.lipschitz.weights_hash import weights_hash
from percert.reproduce.item import Compared, Findings, Setting
from percert.reproduce.photograph_attacks import attacks_there, differs, paper_attacks
from percert.reproduce.photographs import attack_photographs, classifier_there, folder_of

#: The paper does not print which quality and how many bits.
DEFENCES = ("jpeg-75", "bits-5")
#: The attack with more confidence, which the paper adds.
CONFIDENT = "human-perc-ot-literal:confidence=5"


def figure_7(setting: Setting) -> Findings:
    """The share of the attacked photographs that still is misclassified behind each defence."""
    confident = attacks_there(setting, {"Human_Perc_OT (a = 5)": CONFIDENT})
    specs = {**paper_attacks(setting), **confident}
    runs = attack_photographs(setting, list(specs.values()))
    model, _ = classifier_there(setting)
    folder = setting.out / "defended"
    folder.mkdir(parents=True, exist_ok=True)
    found = defended_predictions(
        runs.rows,
        folder_of(setting),
        model,
        weights_hash(model),
        DEFENCES,
        folder,
    )
    names = {spec: name for name, spec in specs.items()} | {CLEAN: "no attack"}
    rows = tuple(
        Compared(f"{names[entry.attack]} through {entry.defence}", None, 100 * entry.share, "%")
        for entry in survivals(runs.rows, found, DEFENCES)
    )
    return Findings(
        rows,
        (
            "The paper draws these shares and prints no numbers, nor which quality of JPEG and how "
            "many bits; here they are JPEG 75 and 5 bits a channel.",
            *differs(setting),
        ),
    )
