"""Every table and figure of LipSim."""

from experiments.papers.item import PaperItem
from experiments.papers.needs import (
    ALEXNET,
    DISTS,
    DREAMSIM,
    IMAGENET,
    LIPSIM,
    LIPSIMS,
    LPIPS,
    NIGHT,
    RETRIEVAL,
    SOME_OF_IMAGENET,
    SOME_PHOTOGRAPHS,
    SQUEEZENET,
    TIMM,
    VGG16,
)

_TRIPLETS = "lipsim-tiny on distorted photographs, the less distorted one being the closer"
_MOVES = "lipsim-tiny, and SqueezeNet's features in DreamSim's place, on photographs"
_PAPERS_OWN = (
    "this with NIGHT and the weights in DATA, --images 1000 and --thorough, or percert eval twoafc "
    "on NIGHT with --metric lipsim-small --checkpoint FILE"
)
_NATURAL = _PAPERS_OWN.replace(" and --thorough", "").replace(", --images", " and --images")
_RIVAL = ", and SqueezeNet's features in DreamSim's place"
_PHOTOGRAPHS = (SOME_PHOTOGRAPHS,)
_WITH_SQUEEZENET = (SOME_PHOTOGRAPHS, SQUEEZENET)

LIPSIM_ITEMS = (
    PaperItem(
        "lipsim-table1",
        "lipsim",
        "2AFC under l2-AutoAttack on the reference, NIGHT",
        _PAPERS_OWN + " and --attack apgd-ce at l2 0.5, 1, 2 and 3",
        (NIGHT, LIPSIM, DREAMSIM),
        _TRIPLETS + _RIVAL + ", under Auto-PGD with both of AutoAttack's losses for two logits",
        "experiments.papers.lipsim.attacked:table_1",
        _WITH_SQUEEZENET,
        shows="Shown is that attacks soon take every score of a metric without a bound, and that "
        "one with a bound keeps at least what is proven of it; how well either agrees with "
        "people is not.",
    ),
    PaperItem(
        "lipsim-table2",
        "lipsim",
        "certified 2AFC scores at 36/255, 72/255 and 108/255, NIGHT",
        _NATURAL,
        (NIGHT, LIPSIMS),
        _TRIPLETS,
        "experiments.papers.lipsim.twoafc:table_2",
        _PHOTOGRAPHS,
        shows="Shown is how certified scores fall with the radius, and how much longer the exact "
        "radius is than the paper's, of the same network and triplets.",
    ),
    PaperItem(
        "lipsim-table3",
        "lipsim",
        "2AFC under linf-AutoAttack and linf-PGD on the reference, NIGHT",
        _PAPERS_OWN + " and --attack apgd-ce and pgd at linf 0.01, 0.02 and 0.03",
        (NIGHT, LIPSIM, DREAMSIM),
        _TRIPLETS + _RIVAL + ", under Auto-PGD and PGD",
        "experiments.papers.lipsim.attacked:table_3",
        _WITH_SQUEEZENET,
        shows="Shown is the same as in Table 1 under linf attacks, of which percert proves nothing "
        "here; the columns do not compare with the paper's, whose PGD is another attack.",
    ),
    PaperItem(
        "lipsim-table4",
        "lipsim",
        "natural 2AFC scores of many metrics on NIGHT, ImageNet and other images apart",
        "this with NIGHT and the weights in DATA and --images 1000, or percert eval twoafc on "
        "NIGHT, a run a metric; its groups are ImageNet and the rest",
        (NIGHT, LIPSIMS, DREAMSIM, TIMM, LPIPS, ALEXNET, DISTS, VGG16),
        "the metrics that take no download, lipsim-tiny and SqueezeNet's features, on distorted "
        "photographs, of ImageNet and others",
        "experiments.papers.lipsim.twoafc:table_4",
        (SOME_PHOTOGRAPHS, SOME_OF_IMAGENET, SQUEEZENET),
        shows="Shown is which metrics answer these triplets at all, a check of the code that "
        "measures; their order on NIGHT is shown only by NIGHT.",
    ),
    PaperItem(
        "lipsim-figure1",
        "lipsim",
        "images whose DreamSim distance an attack made as large as that to other photographs",
        "this with NIGHT and DreamSim's weights in DATA, or percert attack metric on NIGHT's "
        "images with --metric dreamsim",
        (NIGHT, DREAMSIM, LIPSIM),
        "SqueezeNet's features beside lipsim-tiny, on photographs",
        "experiments.papers.lipsim.embedding:figure_1",
        _WITH_SQUEEZENET,
        shows="Shown is that an attack that nobody sees makes a picture as far from itself, for a "
        "metric without a bound, as other pictures are.",
    ),
    PaperItem(
        "lipsim-figure2",
        "lipsim",
        "the two steps of training, a diagram",
        "nothing is measured in it; percert train distill and percert train finetune are the steps",
    ),
    PaperItem(
        "lipsim-figure3a",
        "lipsim",
        "2AFC of metrics, natural and under l2-AutoAttack at 2.0, NIGHT",
        "as lipsim-table1 and lipsim-table4, in bars",
        (NIGHT, LIPSIM, DREAMSIM),
        "lipsim-tiny, SqueezeNet's features, SSIM and thumbnail on distorted photographs, under "
        "Auto-PGD",
        "experiments.papers.lipsim.attacked:figure_3a",
        _WITH_SQUEEZENET,
        shows="Shown are natural scores beside those under attack in the paper's arrangement; "
        "heights do not compare with the paper's bars.",
    ),
    PaperItem(
        "lipsim-figure3b",
        "lipsim",
        "distribution of d(x, x + delta) under l2-PGD at 1.0",
        "this with 500 images in DATA/imagenet and --images 500, or percert eval stability on them",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES,
        "experiments.papers.lipsim.embedding:figure_3b",
        _WITH_SQUEEZENET,
        shows="Shown is that the same attack moves the distance of a metric without a bound by far "
        "more than that of one with a bound, which never leaves what is proven.",
    ),
    PaperItem(
        "lipsim-figure4",
        "lipsim",
        "nearest neighbours of attacked queries, l2-PGD at 2.0",
        "this with the images in DATA/retrieval, the weights in DATA and --images 500, or percert "
        "eval retrieval",
        (RETRIEVAL, LIPSIM, DREAMSIM),
        "lipsim-tiny, with what is proven of it, and SqueezeNet's features, searching photographs",
        "experiments.papers.lipsim.retrieval:figure_4",
        _WITH_SQUEEZENET,
        shows="Shown is whether the nearest image survives an attack on the query, and of which "
        "queries that is proven.",
    ),
    PaperItem(
        "lipsim-figure5",
        "lipsim",
        "some triplets of NIGHT",
        "this with NIGHT in DATA; pictures of the data set, nothing is measured",
        (NIGHT,),
        "distorted photographs",
        "experiments.papers.lipsim.triplets:figure_5",
        (SOME_PHOTOGRAPHS, SOME_OF_IMAGENET),
        shows="Shown is what the scores of the tables are counted on.",
    ),
    PaperItem(
        "lipsim-figure6",
        "lipsim",
        "distribution of d(x, x + delta) under l2-PGD at 3.0",
        "this with 500 images in DATA/imagenet and --images 500, or percert eval stability on them",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES,
        "experiments.papers.lipsim.embedding:figure_6",
        _WITH_SQUEEZENET,
        shows="Shown is the same as in Figure 3b, with three times the length.",
    ),
    PaperItem(
        "lipsim-figure7",
        "lipsim",
        "Proposition 1: distances moved by more than the budget, l2 0.5",
        "this with images in DATA/imagenet, or percert eval stability on them",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES + ", with what is proven beside it",
        "experiments.papers.lipsim.embedding:figure_7",
        _WITH_SQUEEZENET,
        shows="Shown is whether a distance without a bound moves by more than the attack is long, "
        "which Proposition 1 rules out for one with a bound.",
    ),
)
