"""The space of ProxylessNAS: which layers can be skipped, and the published networks."""

import pytest

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import PROXYLESS_NETWORKS, PROXYLESS_PRIMITIVES, Genotype, ProxylessSpace, read_genotype
from sparsenas.spaces.proxyless import PROXYLESS_WIDTHS, WidthsName


def test_layers_that_change_width_or_resolution_are_never_skipped():
    blocks = ProxylessSpace().blocks
    assert len(blocks) == 21
    kept = [block.node - 1 for block in blocks if "skip" not in {c.primitive for c in block.candidates}]
    assert kept == [0, 4, 8, 12, 16, 20]
    for block in blocks:
        names = [c.primitive for c in block.candidates]
        assert names == list(PROXYLESS_PRIMITIVES)[: len(names)]
    assert ProxylessSpace().size == 6**6 * 7**15


def test_every_list_of_widths_has_a_space_of_its_own():
    names = [ProxylessSpace(widths).name for widths in PROXYLESS_WIDTHS]
    assert len(set(names)) == len(names)
    assert set(names) - set(PROXYLESS_NETWORKS) == {"proxyless"}
    assert set(PROXYLESS_WIDTHS) == set(WidthsName.__args__)


@pytest.mark.parametrize("name", PROXYLESS_NETWORKS)
def test_published_networks_are_members_with_a_name(name):
    genotype = read_genotype(name)
    assert genotype == PROXYLESS_NETWORKS[name]
    assert genotype.space == name
    ProxylessSpace(name.removeprefix("proxyless_")).validate(genotype)
    assert Genotype.from_json(genotype.to_json()) == genotype
    with pytest.raises(GenotypeError, match=f"is of space '{name}' .* expected 'proxyless'"):
        ProxylessSpace().validate(genotype)


def test_the_wide_mobile_network_has_the_layers_of_the_narrow_one():
    assert PROXYLESS_NETWORKS["proxyless_mobile_14"].cells == PROXYLESS_NETWORKS["proxyless_mobile"].cells


def test_the_mobile_network_runs_the_layers_that_its_authors_timed():
    """Kernels and expansions in the order of the authors' log of the network on a phone, which lists no skips."""
    timed = "53 33 73 33 53 53 76 53 53 53 56 53 53 53 76 76 73 73 76"
    layers = [c.primitive for c in PROXYLESS_NETWORKS["proxyless_mobile"].cell("chain") if c.primitive != "skip"]
    assert layers == [f"mbconv_k{kernel}_e{expansion}" for kernel, expansion in timed.split()]


def test_unknown_widths():
    with pytest.raises(ConfigError, match=r"space.widths is 'tpu'; known are search, mobile, mobile_14, cpu, gpu"):
        ProxylessSpace("tpu")
