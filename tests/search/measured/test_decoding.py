"""Decisions and their decoding: descriptions add up, and the best is the best of all."""

from collections import Counter

import numpy as np
import pytest

from sparsenas.search.measured.decoding import Decoder
from sparsenas.spaces import REFERENCES, DartsSpace, NasBench201Space, NasBenchMacroSpace, StageSpace
from sparsenas.spaces.features import PAIR, Dictionary, Feature, Place, describe, step
from sparsenas.spaces.stage import stage_genotype

SMALL = StageSpace(
    stages=2,
    layers=3,
    types=("conv_3x3", "sep_conv_3x3"),
    growths=(1.0, 2.0),
    stems=("conv_3x3", "conv_3x3/stride"),
)
BY_STAGE = StageSpace(stages=2, layers=3, types=("conv_3x3", "residual_3x3"), growths=(1.0, 1.5), per="stage")


@pytest.mark.parametrize("space", [SMALL, BY_STAGE], ids=["by layer", "by stage"])
@pytest.mark.parametrize("side", [16, 24, 32])
def test_the_best_paths_are_the_best_of_all(space, side):
    genotypes = [space.genotype(support) for support in space.supports()]
    described = [describe(genotype, side) for genotype in genotypes]
    dictionary = Dictionary(described)
    for seed in range(3):
        code = np.random.default_rng(seed).normal(size=len(dictionary))
        expected = np.sort(dictionary.rows(described) @ code)[::-1][:20]
        found = Decoder(space, side).best(dictionary.named(code), 20)
        assert [score for score, _ in found] == pytest.approx(expected)
        assert len({genotype for _, genotype in found}) == 20
        for score, genotype in found:
            space.validate(genotype)
            assert score == pytest.approx(float(dictionary.rows([describe(genotype, side)])[0] @ code))


@pytest.mark.slow
@pytest.mark.parametrize("space", [NasBenchMacroSpace(), NasBench201Space()], ids=lambda space: space.name)
def test_a_small_space_is_looked_at_as_a_whole(space):
    rng = np.random.default_rng(0)
    genotypes = [space.genotype(support) for support in space.supports()]
    described = [describe(genotype) for genotype in genotypes]
    dictionary = Dictionary(described)
    code = rng.normal(size=len(dictionary))
    ((score, genotype), *_) = Decoder(space).best(dictionary.named(code), 3)
    values = dictionary.rows(described) @ code
    assert score == pytest.approx(values.max())
    assert genotype == genotypes[int(values.argmax())]


def test_all_supports_of_a_space_are_there_once():
    for space in (SMALL, NasBenchMacroSpace(), NasBench201Space(), DartsSpace(nodes=1)):
        supports = list(space.supports())
        assert len(supports) == len(set(supports)) == space.size
        space.validate(space.genotype(supports[-1]))


def test_a_space_that_is_neither_staged_nor_small_is_not_decoded():
    assert not Decoder(DartsSpace()).possible
    assert Decoder(StageSpace()).possible
    assert Decoder(NasBench201Space()).possible


def test_networks_of_equal_layers_have_equal_descriptions():
    space = StageSpace(stages=2, layers=3)
    first = stage_genotype("conv_3x3", (1, ["conv_3x3", "skip", "conv_3x3"]), (2, ["conv_3x3/stride"]))
    second = stage_genotype("conv_3x3", (1, ["conv_3x3*2"]), (2, ["conv_3x3/stride", "skip", "skip"]))
    assert describe(first) == describe(second)
    assert describe(first) != describe(space.sample(np.random.default_rng(0)))


def test_descriptions_name_resolutions_so_that_sizes_of_images_share_them():
    genotype = REFERENCES["vgg_like"].genotype
    at32, at16 = describe(genotype, 32), describe(genotype, 16)
    assert at32[Feature("depth at 16 px", "layers")] == 2
    assert at16[Feature("depth at 8 px", "layers")] == 2
    assert describe(genotype, 24) == at32
    strided = stage_genotype("conv_3x3/stride", (1, ["conv_3x3"]), (2, ["conv_3x3/max_pool"]))
    plain = stage_genotype("conv_3x3", (1, ["conv_3x3"]), (2, ["conv_3x3/max_pool"]))
    inside = {key: value for key, value in describe(strided, 32).items() if "to 16" not in key.decision}
    assert inside == dict(describe(plain, 16))


def test_steps_add_up_to_depth_and_pairs():
    place, added = step(Place.at(32), "residual_3x3/stride*3")
    assert place == Place(4, "residual_3x3")
    found = Counter(dict(added))
    assert found[Feature("depth at 16 px", "layers")] == 3
    assert found[Feature(f"{PAIR} residual_3x3 > residual_3x3", "in a row")] == 2
    assert found[Feature("reduction to 16 px", "stride")] == 1


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_can_be_described(name):
    described = describe(REFERENCES[name].genotype, 64)
    by_place = [value for feature, value in described.items() if feature.decision.startswith("depth at")]
    assert described[Feature("depth", "layers")] == sum(by_place) >= 3


def test_a_dictionary_groups_by_decision_and_weighs_pairs_more():
    described = [describe(REFERENCES[name].genotype) for name in ("vgg_like", "resnet8")]
    dictionary = Dictionary(described)
    assert len(dictionary.groups) == len(dictionary) == len(dictionary.features)
    for number, decision in enumerate(dictionary.decisions):
        members = [
            feature for feature, group in zip(dictionary.features, dictionary.groups, strict=True) if group == number
        ]
        assert {feature.decision for feature in members} == {decision}
        factor = 2 if decision.startswith(PAIR) else 1
        assert dictionary.weights[number] == pytest.approx(factor * len(members) ** 0.5)
    strange = Counter({Feature("nobody", "knows"): 1})
    assert not dictionary.rows([strange]).any()
    vector = np.arange(len(dictionary), dtype=float)
    assert dictionary.vector(dictionary.named(vector)) == pytest.approx(vector)
