"""What all searchers share: how they are built, and what they refuse."""

import inspect

import pytest

from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    OneStageSearch,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    TournamentSearch,
    TwoStageSearch,
)
from sparsenas.training import StandAloneTraining, WeightTraining

#: Searchers on a super-net, and the options of the training of weights that they make use of beside those of all.
KNOWN = {
    OneStageSearch: {"drop_path", "auxiliary_weight"},
    RandomSearch: set(),
    RelaxedSearch: set(),
    SinglePathSearch: {"drop_path"},
    TwoStageSearch: set(),
}


@pytest.mark.parametrize("module", [*KNOWN, TournamentSearch, StandAloneTraining], ids=lambda module: module.__name__)
def test_a_constructor_can_be_read_at_a_glance(module):
    parameters = inspect.signature(module).parameters
    assert len(parameters) <= 12
    assert not {p.kind for p in parameters.values()} & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    assert {"image_shape", "num_classes", "network", "training", "seed"} <= set(parameters)


@pytest.mark.parametrize("option", ["drop_path", "auxiliary_weight"])
@pytest.mark.parametrize("module", KNOWN, ids=lambda module: module.__name__)
def test_options_of_the_training_that_would_be_ignored_are_refused(module, option, space):
    def build(value):
        training = WeightTraining(**{option: value})
        return module((1, 8, 8), 10, space, NetworkConfig(channels=4, cells=3, stem="small"), training)

    assert build(0.0).weight_training == WeightTraining()
    if option in KNOWN[module]:
        assert getattr(build(0.1).weight_training, option) == 0.1
    else:
        message = rf"^training\.{option} is 0\.1, which {module.__name__} does not use: set it to 0$"
        with pytest.raises(ConfigError, match=message):
            build(0.1)
