"""Reference networks: what people pick by hand, as genotypes of the staged space."""

from dataclasses import dataclass

from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.stage import stage_genotype


@dataclass(frozen=True)
class Reference:
    """A network that a user would pick instead of searching.

    Attributes:
        genotype: Its architecture, to be filled to any budget.
        channels: Base width as published.
        source: Where it comes from, and what differs.
    """

    genotype: Genotype
    channels: int
    source: str


#: Reference networks by their name on the command line.
REFERENCES = {
    "plain_cnn": Reference(
        stage_genotype("conv_3x3", (2, ["conv_3x3/max_pool"]), (2, ["conv_3x3/max_pool"])),
        24,
        "three convolutions with max-pools, as one writes them in fifteen lines",
    ),
    "vgg_like": Reference(
        stage_genotype(
            "conv_3x3", (1, ["conv_3x3"]), (2, ["conv_3x3/max_pool", "conv_3x3"]), (2, ["conv_3x3/max_pool"])
        ),
        16,
        "five 3x3 convolutions with max-pools, after Simonyan and Zisserman, VGG (ICLR 2015)",
    ),
    "resnet8": Reference(
        stage_genotype("conv_3x3", (1, ["residual_3x3"]), (2, ["residual_3x3/stride"]), (2, ["residual_3x3/stride"])),
        16,
        "Banbury et al., MLPerf Tiny (NeurIPS 2021); convolutions without the bias of their code",
    ),
    "resnet8_max_pool": Reference(
        stage_genotype(
            "conv_3x3", (1, ["residual_3x3"]), (2, ["residual_3x3/max_pool"]), (2, ["residual_3x3/max_pool"])
        ),
        16,
        "resnet8 with max-pools in place of strides",
    ),
    "resnet20": Reference(
        stage_genotype(
            "conv_3x3", (1, ["residual_3x3*3"]), (2, ["residual_3x3/stride*3"]), (2, ["residual_3x3/stride*3"])
        ),
        16,
        "He et al., ResNet (CVPR 2016), CIFAR; shortcuts that change width are 1x1 convolutions",
    ),
    "mobilenet_v1": Reference(
        stage_genotype(
            "conv_3x3/stride",
            (2, ["sep_conv_3x3"]),
            (2, ["sep_conv_3x3/stride*2"]),
            (2, ["sep_conv_3x3/stride*2"]),
            (2, ["sep_conv_3x3/stride*6"]),
            (2, ["sep_conv_3x3/stride*2"]),
        ),
        32,
        "Howard et al., MobileNets (2017), as published",
    ),
    "mobilenet_v2_like": Reference(
        stage_genotype(
            "conv_3x3", (1, ["mbconv_k3_e6*2"]), (1.5, ["mbconv_k3_e6/stride*2"]), (2, ["mbconv_k3_e6/stride*2"])
        ),
        16,
        "blocks of Sandler et al., MobileNetV2 (CVPR 2018), in three stages",
    ),
    "ds_cnn": Reference(
        stage_genotype(
            "conv_3x3", (1, ["sep_conv_3x3*2"]), (2, ["sep_conv_3x3/stride*2"]), (2, ["sep_conv_3x3/stride*2"])
        ),
        16,
        "blocks of Zhang et al., Hello Edge (2017), in three stages",
    ),
    "regnet_like": Reference(
        stage_genotype(
            "conv_3x3",
            (1, ["residual_bottleneck"]),
            (2, ["residual_bottleneck/stride*2"]),
            (2, ["residual_bottleneck/stride*3"]),
        ),
        32,
        "deepening stages after Radosavovic et al., RegNet (CVPR 2020), of bottlenecks without groups",
    ),
    "efficientnet_v2_like": Reference(
        stage_genotype(
            "conv_3x3",
            (1, ["fused_mbconv_k3_e2"]),
            (2, ["fused_mbconv_k3_e4/stride*2"]),
            (2, ["mbconv_k3_e6_se/stride*2"]),
        ),
        16,
        "fused, then plain mobile convolutions after Tan and Le, EfficientNetV2 (ICML 2021), in three stages",
    ),
}
