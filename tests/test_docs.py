"""The code in the documentation runs as it is printed."""

import re
import sys
from math import ceil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sparsenas.networks import NormOptions, SuperNet, make_operation

DOCS = Path(__file__).parents[1] / "docs"


def code_blocks(page, language="python"):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def primitive_page(monkeypatch):
    """The page's module, importable under the name it tells to use, and the space it builds."""
    module_code, space_code = code_blocks("bring_your_primitive.md")
    module = ModuleType("my_primitives")
    exec(compile(module_code, "my_primitives.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "my_primitives", module)
    scope = {}
    exec(compile(space_code, "bring_your_primitive.md", "exec"), scope)
    return module_code, scope["space"]


def test_own_primitive_takes_about_twenty_lines(primitive_page):
    assert len(primitive_page[0].splitlines()) <= 20


@pytest.mark.usefixtures("primitive_page")
@pytest.mark.parametrize("norms", [NormOptions(), NormOptions(affine=False, track=False)])
@pytest.mark.parametrize("stride", [1, 2])
def test_own_primitive_conforms(stride, norms):
    operation = make_operation("my_primitives:mbconv_3x3", 4, stride, norms)
    for height, width in ((8, 8), (9, 12)):
        assert operation(torch.randn(2, 4, height, width)).shape == (2, 4, ceil(height / stride), ceil(width / stride))


def test_own_primitive_is_searched_and_derived(primitive_page):
    _, space = primitive_page
    network = SuperNet(space, (1, 8, 8), 5, channels=4, cells=3, stem="small")
    own = space.primitives.index("my_primitives:mbconv_3x3")
    support = tuple((own, own + len(space.primitives)) for _ in space.blocks)
    genotype = space.genotype(support)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(network(images, support), network.derive(genotype)(images))
    assert {candidate.primitive for candidate in genotype.cell("normal")} == {"my_primitives:mbconv_3x3"}
    assert space.sample(np.random.default_rng(0)).space == "darts"


def test_config_names_the_same_primitives(primitive_page):
    (config,) = code_blocks("bring_your_primitive.md", "yaml")
    assert tuple(re.findall(r"[\w:]+", config.split("primitives: [")[1])) == primitive_page[1].primitives
