"""What the papers' own versions take: addresses of the papers, else of those who publish it."""

from experiments.papers.item import Need

_DREAMSIM = "https://github.com/ssundaram21/dreamsim/releases/download/v0.1.0/"
_TORCHVISION = "https://download.pytorch.org/models/"

NIGHT = Need(
    "NIGHT (NIGHTS), the triplets with people's judgements (Fu et al. 2023), unpacked",
    "DATA/night, with data.csv, ref/ and distort/",
    "https://data.csail.mit.edu/nights/nights.zip",
    "58 GB unpacked",
)
_LIPSIM = "https://github.com/SaraGhazanfari/LipSim"
LIPSIM = Need(
    "the authors' weights of LipSim, taught by DreamSim and fine-tuned on NIGHT with margin 0.5",
    "DATA/weights/lipsim-dreamsim-0.5.pth",
    _LIPSIM,
)
LIPSIMS = Need(
    "the authors' weights of LipSim by teacher (dreamsim, dino, open-clip) and training "
    "(pretrained, 0.2, 0.5)",
    "DATA/weights/lipsim-TEACHER-TRAINING.pth",
    _LIPSIM,
)
TIMM = Need(
    "timm's weights of CLIP, OpenCLIP, DINO and MAE, as model.safetensors of each",
    "DATA/weights/timm/NAME.safetensors, NAME being timm's with its tag, such as "
    "vit_base_patch16_224.dino",
    "https://huggingface.co/timm",
)
DREAMSIM = Need(
    "the weights of DreamSim, and of the CLIP, OpenCLIP and DINO that its authors fine-tuned one "
    "by one, as its package fetches them (pip install dreamsim)",
    "DATA/weights/dreamsim",
    "https://github.com/ssundaram21/dreamsim",
)
RETRIEVAL = Need(
    "the 500 images of DreamSim's retrieval set, unpacked",
    "DATA/retrieval",
    _DREAMSIM + "retrieval_images.zip",
)
IMAGENET = Need(
    "500 images of ImageNet-1k (ILSVRC 2012), such as of its validation set; they take an account",
    "DATA/imagenet",
    "https://image-net.org/download.php",
    "6.3 GB, the validation set",
)
IMAGENET_COMPATIBLE = Need(
    "all 1,000 images of the ImageNet-Compatible set, with images.csv",
    "DATA/imagenet-compatible/images and DATA/imagenet-compatible/images.csv",
    "https://github.com/cleverhans-lab/cleverhans/tree/master/cleverhans_v3.1.0/examples/"
    "nips17_adversarial_competition/dataset",
    "about 150 MB",
)
RESNET50 = Need(
    "torchvision's ResNet-50 trained on ImageNet",
    "DATA/weights/resnet50-0676ba61.pth",
    _TORCHVISION + "resnet50-0676ba61.pth",
    "98 MiB",
)
PIEAPP = Need(
    "the weights of PieAPP as piq publishes them (the authors': "
    "https://github.com/prashnani/PerceptualImageError)",
    "DATA/weights/PieAPPv0.1.pth",
    "https://github.com/photosynthesis-team/piq/releases/download/v0.5.4/PieAPPv0.1.pth",
)
LPIPS = Need(
    "the linear heads of LPIPS 0.1 (lpips/weights/v0.1/alex.pth)",
    "DATA/weights/lpips-alex.pth",
    "https://github.com/richzhang/PerceptualSimilarity",
    "6 kB",
)
ALEXNET = Need(
    "torchvision's AlexNet, which LPIPS looks through",
    "DATA/weights/alexnet-owt-7be5be79.pth",
    _TORCHVISION + "alexnet-owt-7be5be79.pth",
    "233 MiB",
)
DISTS = Need(
    "the weights of DISTS (alpha and beta)",
    "DATA/weights/dists_weights.pt",
    "https://github.com/dingkeyan93/DISTS",
    "12 kB",
)
VGG16 = Need(
    "torchvision's VGG-16, which DISTS looks through",
    "DATA/weights/vgg16-397923af.pth",
    _TORCHVISION + "vgg16-397923af.pth",
    "528 MiB",
)
EGNET = Need(
    "EGNet and its weights, exported as ONNX",
    "DATA/weights/egnet.onnx, or a card DATA/weights/egnet.toml (percert eval saliency)",
    "https://github.com/JXingZhao/EGNet",
)
FLICKR = Need(
    "a key for Flickr's API, and ImageNet's list of addresses",
    "FLICKR_API_KEY, and percert data geo LIST",
    "https://www.flickr.com/services/api/",
)
COUNTRIES = Need(
    "what percert data geo made of them: countries.csv (group, images) or images.csv (country)",
    "DATA/geo",
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
    IMAGENET_COMPATIBLE.address,
    "150 kB an image",
)
SOME_OF_IMAGENET = Need("some photographs of ImageNet, where they are", "DATA/imagenet-samples")
SQUEEZENET = Need(
    "SqueezeNet 1.0's weights, squeezenet1_0-imagenet.safetensors (4,998,624 bytes)",
    "--weights FILE, or beside the data",
    size="4,998,624 bytes",
)
MNIST_TEST = Need(
    "the test set of MNIST, idx files, gzipped or not",
    "DATA/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz",
    "1.7 MB",
)
