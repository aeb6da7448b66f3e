"""Cells in an order of one's own, in the supernet and in the discrete network."""

import re

import pytest
import torch

from darts_core.methods import METHODS
from darts_core.spaces import SPACES

CELLS = ["normal", "reduction", "normal", "normal"]
WANTED = {"init_channels": 2, "layers": 4, "stem": "cifar", "auxiliary": False, "drop_path_prob": 0.2}


def build(cells=CELLS, name="darts_wide"):
    return SPACES.build(name, {"init_channels": 2, "nodes": 1, **({} if cells is None else {"cells": cells})})


def test_cells_stand_in_the_given_order_and_halve_where_they_reduce():
    space = build()
    torch.manual_seed(0)
    supernet = METHODS.build("darts").supernet(space, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
    genotype = space.random_genotype(torch.Generator().manual_seed(0))
    network = space.network(genotype, in_channels=1, num_classes=3, init_channels=2, layers=4)
    for net in (supernet, network):
        sizes = []
        for cell in net.cells:
            cell.register_forward_hook(lambda module, inputs, out, sizes=sizes: sizes.append((out.shape[1], out.shape[2])))
        net(torch.randn(2, 1, 8, 8))
        assert sizes == [(2, 8), (4, 4), (4, 4), (4, 4)]
    assert supernet.type_of_cell == ["normal", "reduce", "normal", "normal"]


def test_retraining_may_have_other_cells():
    space, cells = build(), ("reduction", "normal", "reduction")
    genotype = space.random_genotype(torch.Generator().manual_seed(0))
    network = space.network(genotype, in_channels=1, num_classes=3, init_channels=2, layers=3, cells=cells)
    assert network.classifier.in_features == 8
    space.check_network(**{**WANTED, "layers": 3}, cells=cells)
    with pytest.raises(ValueError, match=r"retrain\.layers must be 3, the number of retrain\.cells\. Got 4\."):
        space.check_network(**WANTED, cells=cells)
    with pytest.raises(ValueError, match=r"retrain\.layers must be 4, the number of space\.cells\. Got 3\."):
        space.check_network(**{**WANTED, "layers": 3})


def test_without_reductions_there_is_one_cell_to_search():
    space = build(["normal", "normal"])
    assert space.cell_types == ("normal",)
    assert space.random_genotype(torch.Generator().manual_seed(0)).reduce is None
    with pytest.raises(ValueError, match=re.escape("retrain.cells may name normal cells alone")):
        space.frame_of(["normal", "reduction"])


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"space\.cells must hold a normal cell\. Got \['reduction'\]"):
        build(["reduction"])
    with pytest.raises(ValueError, match=re.escape("space.cells: must be 'normal' or 'reduction'. Got 'reduce'.")):
        build(["normal", "reduce"])
    with pytest.raises(ValueError, match=r"retrain\.cells must be null with space\.name: nasbench201"):
        SPACES.build("nasbench201").frame_of(["normal"])
