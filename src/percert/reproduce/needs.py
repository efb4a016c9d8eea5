"""What the papers' own versions take. Addresses are those that the papers print, and no others."""

from percert.reproduce.item import Need

_DREAMSIM = "https://github.com/ssundaram21/dreamsim/releases/download/v0.1.0/"

NIGHT = Need(
    "NIGHT, the test triplets with people's judgements (Fu et al. 2023)",
    "DATA/night",
)
LIPSIM = Need(
    "the authors' weights of LipSim",
    "DATA/lipsim-small.pth, or --checkpoint FILE with --metric lipsim-small",
    "https://github.com/SaraGhazanfari/LipSim",
)
DREAMSIM = Need(
    "the weights of DreamSim, and of the CLIP, OpenCLIP and DINO in it", "percert[dreamsim]"
)
RETRIEVAL = Need(
    "the 500 images of DreamSim's retrieval set",
    "any folder: percert index add STORE DIR",
    _DREAMSIM + "retrieval_images.zip",
)
IMAGENET = Need("ImageNet-1k (ILSVRC 2012), images and classes", "any folder")
IMAGENET_COMPATIBLE = Need(
    "all 1,000 images of the ImageNet-Compatible set, with images.csv",
    "DATA/imagenet-compatible/images and DATA/imagenet-compatible/images.csv",
)
RESNET50 = Need("ResNet-50 trained on ImageNet", "--model torchvision:resnet50 of percert attack")
PIEAPP = Need(
    "the weights of PieAPP",
    "cost=pieapp with checkpoint=FILE in the attack",
    "https://github.com/prashnani/PerceptualImageError",
)
LPIPS = Need(
    "the weights of LPIPS",
    "--metrics lpips-alex=FILE",
    "https://github.com/richzhang/PerceptualSimilarity",
)
DISTS = Need("the weights of DISTS", "--metrics dists=FILE", "https://github.com/dingkeyan93/DISTS")
EGNET = Need(
    "EGNet and its weights, which percert does not have",
    "not taken: there is no place for it",
    "https://github.com/JXingZhao/EGNet",
)
FLICKR = Need(
    "a key for Flickr's API, and ImageNet's list of addresses",
    "FLICKR_API_KEY, and percert data geo LIST",
    "https://www.flickr.com/services/api/",
)
WORLD_BANK = Need(
    "the World Bank's CSV of GDP per capita",
    "percert data geo LIST --gdp FILE",
    "https://data.worldbank.org/indicator/NY.GDP.PCAP.CD",
)

#: The small data of the offline versions.
SOME_PHOTOGRAPHS = Need(
    "some of the ImageNet-Compatible set, with images.csv",
    "DATA/imagenet-compatible/images and DATA/imagenet-compatible/images.csv",
)
SQUEEZENET = Need(
    "SqueezeNet 1.0's weights, squeezenet1_0-imagenet.safetensors (4,998,624 bytes)",
    "--weights FILE, or beside the data",
    size="4,998,624 bytes",
)
MNIST_TEST = Need("the test set of MNIST, idx files, gzipped or not", "DATA/mnist")
