"""The staged space: what its genotypes say, and what is none of them."""

import numpy as np
import pytest

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import LAYER_TYPES, REFERENCES, Genotype, StageSpace, read_genotype
from sparsenas.spaces.stage import Layer, read_chain, stage_genotype
from sparsenas.spaces.topology import Candidate

RESNET8 = REFERENCES["resnet8"].genotype


def test_a_genotype_says_everything_but_the_base_width():
    chain = read_chain(REFERENCES["resnet20"].genotype)
    assert chain.stem == Layer("conv_3x3")
    assert [stage.growth for stage in chain.stages] == [1, 2, 2]
    assert [stage.layers for stage in chain.stages] == [
        (Layer("residual_3x3", None, 3),),
        *[(Layer("residual_3x3", "stride", 3),)] * 2,
    ]


def test_skips_make_a_stage_shallower():
    deep = stage_genotype("conv_3x3", (1, ["conv_3x3", "skip", "conv_5x5", "skip"]))
    assert read_chain(deep) == read_chain(stage_genotype("conv_3x3", (1, ["conv_3x3", "conv_5x5"])))


@pytest.mark.parametrize("per", ["layer", "stage"])
def test_every_member_can_be_read(per):
    space, rng = StageSpace(layers=4, types=LAYER_TYPES, per=per), np.random.default_rng(0)
    for genotype in (space.sample(rng) for _ in range(200)):
        stem, stages = read_chain(genotype)
        assert stem.down is None
        depths = [sum(layer.repeats for layer in stage.layers) for stage in stages]
        assert len(depths) == 3
        assert all(1 <= depth <= 4 for depth in depths)
        assert [stage.layers[0].down is None for stage in stages] == [True, False, False]


def test_types_per_layer_hold_those_per_stage():
    """The same networks, written layer by layer."""
    layers, stages = StageSpace(layers=2, growths=[2.0]), StageSpace(layers=2, growths=[2.0], per="stage")
    rng = np.random.default_rng(0)
    for genotype in (stages.sample(rng) for _ in range(50)):
        stem, found = read_chain(genotype)
        written = []
        for stage in found:
            ((type, down, repeats),) = stage.layers
            written.append((stage.growth, [str(Layer(type, down)), type if repeats == 2 else "skip"]))
        same = stage_genotype(str(stem), *written)
        assert layers.genotype(layers.support(same)) == same


def test_the_first_stage_may_halve_too():
    space = StageSpace(
        stages=2, layers=1, types=["conv_3x3"], downsamplings=["max_pool"], growths=[2.0], halve_first=True
    )
    assert space.size == 1
    assert space.sample(np.random.default_rng(0)) == REFERENCES["plain_cnn"].genotype


@pytest.mark.parametrize("name", REFERENCES)
def test_references_have_names(name):
    assert read_genotype(name) == REFERENCES[name].genotype
    assert Genotype.from_json(REFERENCES[name].genotype.to_json()) == REFERENCES[name].genotype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 0}, "stages=0, layers=3; need 1 to 9 stages"),
        ({"layers": 31}, "layers=31; need 1 to 9 stages of 1 to 30 layers"),
        ({"types": ["conv_7x7"]}, r"space.types is \['conv_7x7'\]; name at least one, each once, of conv_3x3"),
        ({"types": []}, r"space.types is \[\]"),
        ({"types": ["conv_3x3_se"]}, "space.types"),
        ({"downsamplings": ["blur"]}, "space.downsamplings .* of stride, max_pool"),
        ({"per": "stages"}, "space.per is 'stages'; use layer or stage"),
        ({"growths": [1.1]}, r"space.growths is \[1.1\].*multiples of 0.25 .* stay on the channel grid"),
        ({"growths": [2.0, 2.0]}, "space.growths .* each once"),
        ({"growths": [8.0]}, "space.growths"),
        ({"stems": ["conv_7x7"]}, "space.stems"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        StageSpace(**options)


def changed(cell, *candidates):
    return Genotype.build("stage", {name: candidates if name == cell else rows for name, rows in RESNET8.cells})


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (changed("stage1", Candidate(1, 0, "residual_3x3")), "stage1: has 1 candidates; it needs 2 to 31"),
        (changed("stem", Candidate(1, 0, "skip")), "stem is skip; it is a layer, such as conv_3x3"),
        (changed("stem", Candidate(1, 0, "conv_9x9")), "unknown layer 'conv_9x9'; known are conv_3x3"),
        (
            changed("stage2", Candidate(1, 0, "width_x2"), Candidate(2, 0, "conv_3x3/stride")),
            "stage2: its candidates must lie in a row",
        ),
        (
            changed("stage2", Candidate(1, 0, "width_x2"), Candidate(2, 1, "conv_3x3")),
            "stage2 begins with conv_3x3; the first layer is no skip, and halves",
        ),
        (
            changed("stage1", Candidate(1, 0, "width_x2"), Candidate(2, 1, "skip")),
            "stage1 begins with skip; the first layer is no skip",
        ),
        (
            changed("stage1", Candidate(1, 0, "width_x1"), Candidate(2, 1, "conv_3x3"), Candidate(3, 2, "skip/stride")),
            "stage1: only its first layer may halve the resolution",
        ),
        (
            changed("stage1", Candidate(1, 0, "conv_3x3"), Candidate(2, 1, "conv_3x3")),
            "stage1: its first candidate is its width: 'conv_3x3' is no growth",
        ),
        (changed("stage1", Candidate(1, 0, "width_x2"), Candidate(2, 1, "width_x2")), "stage1: names its width twice"),
        (changed("stage1", Candidate(1, 0, "width_x9"), Candidate(2, 1, "conv_3x3")), "a multiple of 0.25 up to 4"),
        (
            Genotype.build("stage", {"stem": RESNET8.cell("stem"), "stage2": RESNET8.cell("stage2")}),
            "expected stem, stage1, stage2, ... without gaps",
        ),
        (Genotype.build("stage", {"stem": RESNET8.cell("stem")}), "expected stem, stage1"),
        (read_genotype("darts_v2"), "genotype is of space 'darts'; expected 'stage'"),
    ],
)
def test_no_networks_of_stages(genotype, message):
    with pytest.raises(GenotypeError, match=message):
        read_chain(genotype)
