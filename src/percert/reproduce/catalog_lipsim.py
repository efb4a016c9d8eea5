"""Every table and figure of LipSim."""

from percert.reproduce.item import Item
from percert.reproduce.needs import (
    DREAMSIM,
    IMAGENET,
    LIPSIM,
    NIGHT,
    RETRIEVAL,
    SOME_PHOTOGRAPHS,
    SQUEEZENET,
)

_TRIPLETS = "lipsim-tiny on distorted photographs, the less distorted one being the closer"
_MOVES = "lipsim-tiny, and SqueezeNet's features in DreamSim's place, on photographs"
_PAPERS_OWN = (
    "this with NIGHT and the weights in DATA, or percert eval twoafc on NIGHT with --metric "
    "lipsim-small --checkpoint FILE"
)
_PHOTOGRAPHS = (SOME_PHOTOGRAPHS,)
_WITH_SQUEEZENET = (SOME_PHOTOGRAPHS, SQUEEZENET)

LIPSIM_ITEMS = (
    Item(
        "lipsim-table1",
        "lipsim",
        "2AFC under l2-AutoAttack on the reference, NIGHT",
        _PAPERS_OWN + " and --attack aa at l2 0.5, 1, 2 and 3",
        (NIGHT, LIPSIM, DREAMSIM),
        _TRIPLETS + ", under Auto-PGD with both of AutoAttack's losses for two logits",
        "percert.reproduce.twoafc:table_1",
        _PHOTOGRAPHS,
    ),
    Item(
        "lipsim-table2",
        "lipsim",
        "certified 2AFC scores at 36/255, 72/255 and 108/255, NIGHT",
        _PAPERS_OWN,
        (NIGHT, LIPSIM),
        _TRIPLETS,
        "percert.reproduce.twoafc:table_2",
        _PHOTOGRAPHS,
    ),
    Item(
        "lipsim-table3",
        "lipsim",
        "2AFC under linf-AutoAttack and linf-PGD on the reference, NIGHT",
        _PAPERS_OWN + " and --attack aa and pgd at linf 0.01, 0.02 and 0.03",
        (NIGHT, LIPSIM, DREAMSIM),
        _TRIPLETS + ", under Auto-PGD and PGD",
        "percert.reproduce.twoafc:table_3",
        _PHOTOGRAPHS,
    ),
    Item(
        "lipsim-table4",
        "lipsim",
        "natural 2AFC scores of many metrics on NIGHT, ImageNet and other images apart",
        "percert eval twoafc on NIGHT, a run a metric; its groups are ImageNet and the rest",
        (NIGHT, LIPSIM, DREAMSIM),
    ),
    Item(
        "lipsim-figure1",
        "lipsim",
        "images whose DreamSim distance an attack made as large as that to other photographs",
        "percert attack metric on NIGHT's triplets with --metric dreamsim",
        (NIGHT, DREAMSIM),
    ),
    Item(
        "lipsim-figure2",
        "lipsim",
        "the two steps of training, a diagram",
        "nothing is measured in it; percert train distill and percert train finetune are the steps",
    ),
    Item(
        "lipsim-figure3a",
        "lipsim",
        "2AFC of metrics, natural and under l2-AutoAttack at 2.0, NIGHT",
        "as lipsim-table1 and lipsim-table4, in bars",
        (NIGHT, LIPSIM, DREAMSIM),
    ),
    Item(
        "lipsim-figure3b",
        "lipsim",
        "distribution of d(x, x + delta) under l2-PGD at 1.0",
        "percert attack metric --goal embedding on 500 images of ImageNet",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES,
        "percert.reproduce.embedding_moves:figure_3b",
        _WITH_SQUEEZENET,
    ),
    Item(
        "lipsim-figure4",
        "lipsim",
        "nearest neighbours of attacked queries, l2-PGD at 2.0",
        "percert index add and percert attack metric --goal embedding, then percert index search",
        (RETRIEVAL, LIPSIM, DREAMSIM),
    ),
    Item(
        "lipsim-figure5",
        "lipsim",
        "some triplets of NIGHT",
        "nothing is measured in it: pictures of the data set",
        (NIGHT,),
    ),
    Item(
        "lipsim-figure6",
        "lipsim",
        "distribution of d(x, x + delta) under l2-PGD at 3.0",
        "percert attack metric --goal embedding on 500 images of ImageNet",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES,
        "percert.reproduce.embedding_moves:figure_6",
        _WITH_SQUEEZENET,
    ),
    Item(
        "lipsim-figure7",
        "lipsim",
        "Proposition 1: distances moved by more than the budget, l2 0.5",
        "percert attack metric --goal embedding on images of ImageNet",
        (IMAGENET, LIPSIM, DREAMSIM),
        _MOVES + ", with what is proven beside it",
        "percert.reproduce.embedding_moves:figure_7",
        _WITH_SQUEEZENET,
    ),
)
