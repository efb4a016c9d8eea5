"""Every table and figure of Human Imperceptible Attacks, and the tests of its section 4."""

from experiments.papers.item import PaperItem
from experiments.papers.needs import (
    ALEXNET,
    COUNTRIES,
    DISTS,
    EGNET,
    FLICKR,
    IMAGENET,
    IMAGENET_COMPATIBLE,
    LPIPS,
    MNIST_TEST,
    PIEAPP,
    RESNET50,
    SOME_PHOTOGRAPHS,
    SQUEEZENET,
    VGG16,
    WORLD_BANK,
)

_ATTACKS = (
    "this with the weights in DATA/weights and --images 1000, as far as Human_Perc_OT goes; its "
    "rivals' settings are not printed"
)
_OURS = "this with ResNet-50's and PieAPP's weights in DATA/weights and --images 1000"
_ANY = (
    "the paper names no network; percert attack classify takes any classifier of MNIST, with "
    "--attack ssim-step"
)
_OFFLINE = (
    "the same attacks on EfficientNet-Lite0, or SqueezeNet 1.0 without its package, with 1 - SSIM "
    "for PieAPP, on the first few photographs"
)
_OWN = (IMAGENET_COMPATIBLE, RESNET50, PIEAPP, LPIPS, ALEXNET, DISTS, VGG16)
_SMALL = (SOME_PHOTOGRAPHS, SQUEEZENET)
_SALIENCY = "this with EGNet as an ONNX file in DATA/weights, or percert eval saliency with it"
_MAPS = (
    _OFFLINE + ", and the maps of OpenCV's spectral residual and fine grained saliency for EGNet's"
)

HPOT_ITEMS = (
    PaperItem(
        "hpot-table1",
        "hpot",
        "success and distances of five attacks, ImageNet-Compatible",
        _ATTACKS,
        _OWN,
        _OFFLINE,
        "experiments.papers.hpot.tables:table_1",
        _SMALL,
        shows="Shown is how visible each attack's changes are beside the others' on the same "
        "photographs and network, and which of them rounding to 8 bits undoes; the "
        "paper's numbers depend on a cost and on metrics that are not here.",
    ),
    PaperItem(
        "hpot-table2",
        "hpot",
        "differences of human saliency maps, by EGNet",
        _SALIENCY,
        (*_OWN, EGNET),
        _MAPS,
        "experiments.papers.hpot.saliency:table_2",
        _SMALL,
        shows="Shown is how much each attack moves maps of contrast; whether it moves what "
        "people look at is not.",
    ),
    PaperItem(
        "hpot-table3",
        "hpot",
        "Human_Perc_OT with lambda 0.5, 1 and 2",
        _OURS,
        _OWN,
        _OFFLINE,
        "experiments.papers.hpot.tables:table_3",
        _SMALL,
        shows="Shown is what the weight of the cost does where the cost has a gradient at the "
        "photograph, as the paper's has; its scale is arbitrary, since the weights are "
        "random.",
    ),
    PaperItem(
        "hpot-table4",
        "hpot",
        "Human_Perc_OT with step 0.05, 0.1 and 0.2",
        _OURS,
        _OWN,
        _OFFLINE,
        "experiments.papers.hpot.tables:table_4",
        _SMALL,
        shows="Shown is that shorter steps give smaller changes and take longer; how much "
        "smaller depends on the network's gradients.",
    ),
    PaperItem(
        "hpot-table5",
        "hpot",
        "the settings of the algorithms",
        "percert train adversarial-dataset and dro with --momentum 5e-4 --weight-decay 0; all "
        "others are the defaults",
        (),
        "the defaults of human-perc-ot-literal beside the paper's settings",
        "experiments.papers.hpot.tables:table_5",
        shows="Shown is that the defaults are the settings printed, but for one that reads like "
        "another.",
    ),
    PaperItem(
        "hpot-table6",
        "hpot",
        "seconds for 1,000 images",
        _ATTACKS + ", and a V100 for its seconds",
        _OWN,
        _OFFLINE,
        "experiments.papers.hpot.tables:table_6",
        _SMALL,
        shows="Shown is which attacks take longer than which; seconds are those of another "
        "machine.",
    ),
    PaperItem(
        "hpot-section4",
        "hpot",
        "the p-values of the F-test and of the t-test, from the statistics printed",
        "arithmetic",
        (),
        "the same, in full",
        "experiments.papers.hpot.tables:p_values",
    ),
    PaperItem(
        "hpot-figure1",
        "hpot",
        "which changes people see and networks do not, a diagram",
        "nothing is measured in it",
    ),
    PaperItem(
        "hpot-figure2",
        "hpot",
        "a photograph of a mailbox, an example",
        "nothing is measured in it",
    ),
    PaperItem(
        "hpot-figure3",
        "hpot",
        "one step under 1 - SSIM beside one under L2, the first two ones of MNIST",
        _ANY,
        (MNIST_TEST,),
        "the same on two classifiers, each trained on half of the test set, on the other half",
        "experiments.papers.hpot.mnist:figure_3",
        (MNIST_TEST,),
        shows="Shown is whether a step under 1 - SSIM keeps the structure of digits that one "
        "under L2 destroys, on a network of our own training.",
    ),
    PaperItem(
        "hpot-figure4",
        "hpot",
        "attacked photographs to look at",
        _ATTACKS,
        _OWN,
        _OFFLINE,
        "experiments.papers.hpot.figures:figure_4",
        _SMALL,
        shows="Shown is how each attack's changes look; there is nothing to count.",
    ),
    PaperItem(
        "hpot-figure5",
        "hpot",
        "distribution of the attacks' DISTS distances",
        _ATTACKS,
        _OWN,
        _OFFLINE + ", and 1 - SSIM for DISTS",
        "experiments.papers.hpot.figures:figure_5",
        _SMALL,
        shows="Shown is how the attacks' distances are spread; the order of the attacks is that "
        "of the distance taken.",
    ),
    PaperItem(
        "hpot-figure6",
        "hpot",
        "saliency maps of attacked photographs, by EGNet",
        _SALIENCY,
        (*_OWN, EGNET),
        _MAPS,
        "experiments.papers.hpot.saliency:figure_6",
        _SMALL,
        shows="Shown is how maps of contrast change; they are no maps of what people look at.",
    ),
    PaperItem(
        "hpot-figure7",
        "hpot",
        "what survives JPEG and fewer bits",
        "as hpot-table1, through the defences' settings, which are not printed; percert eval "
        "defences takes any, on runs of percert attack classify with --confidence 0, 1 and 5",
        _OWN,
        _OFFLINE + ", through JPEG 75 and 5 bits",
        "experiments.papers.hpot.figures:figure_7",
        _SMALL,
        shows="Shown is which attacks survive two defences of our choice, since the paper names "
        "neither quality nor bits.",
    ),
    PaperItem(
        "hpot-figure8",
        "hpot",
        "accuracy by GDP per capita with its line, and the slopes of two sets of 50 models",
        "percert data geo on a list of ImageNet's photographs at Flickr, percert train "
        "adversarial-dataset and percert train dro with PieAPP, then percert audit groups "
        "--against; the paper's list and models are not published",
        (IMAGENET, FLICKR, WORLD_BANK, PIEAPP),
        "the left half on other questions: faces by age, classes or photographs by brightness",
        "experiments.papers.hpot.groups:figure_8",
        _SMALL,
        shows="Shown is what the paper's tests say on groups that the data here have; nothing "
        "follows for countries and their income.",
    ),
    PaperItem(
        "hpot-figure9",
        "hpot",
        "one step under 1 - SSIM beside one under L2, one of each digit of MNIST",
        _ANY,
        (MNIST_TEST,),
        "the same on two classifiers, each trained on half of the test set, on the other half",
        "experiments.papers.hpot.mnist:figure_9",
        (MNIST_TEST,),
        shows="Shown is whether a step under 1 - SSIM keeps the structure of digits that one "
        "under L2 destroys, on networks of our own training.",
    ),
    PaperItem(
        "hpot-figure10",
        "hpot",
        "more attacked photographs to look at",
        "as hpot-figure4",
        _OWN,
        _OFFLINE + ", other ones than those of hpot-figure4",
        "experiments.papers.hpot.figures:figure_10",
        _SMALL,
        shows="Shown is how each attack's changes look; there is nothing to count.",
    ),
    PaperItem(
        "hpot-figure11",
        "hpot",
        "more saliency maps, by EGNet",
        _SALIENCY,
        (*_OWN, EGNET),
        _MAPS,
        "experiments.papers.hpot.saliency:figure_11",
        _SMALL,
        shows="Shown is how maps of contrast change; they are no maps of what people look at.",
    ),
    PaperItem(
        "hpot-figure12",
        "hpot",
        "distribution of the attacks' LPIPS distances",
        "this with the weights of LPIPS in DATA/weights",
        (*_OWN, *_SMALL),
        run="experiments.papers.hpot.figures:figure_12",
        shows="Shown is how the attacks' distances are spread by a metric that stands for LPIPS.",
    ),
    PaperItem(
        "hpot-figure13",
        "hpot",
        "share of images by country",
        "percert data geo LIST --out DATA/geo, then this",
        (FLICKR, COUNTRIES),
        run="experiments.papers.hpot.groups:figure_13",
        shows="Shown is where the photographs of a list are from; the paper's list is not "
        "published.",
    ),
)
