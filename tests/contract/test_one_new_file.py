"""A method, an operation and a space of one's own: each is one file that registers itself, and nothing else changes."""

import importlib.util
import sys

import pytest
import torch

from darts_core.api import search_architecture
from darts_core.cli import main
from darts_core.config import ConfigError
from darts_core.methods import METHODS
from darts_core.ops import OPS
from darts_core.spaces import SPACES

METHOD = '''
from darts_core.methods import METHODS
from darts_core.search.method import Method
from darts_core.search.ranges import in_range
from darts_core.supernet.sampled import Weights


@METHODS.register("sharp_darts")
def sharp_darts(*, sharpness: float = 2.0) -> Method:
    """Sharp DARTS (one's own): a softmax of ``sharpness`` times alpha."""
    factor = in_range(sharpness, "sharpness", above=0.0)
    return Method(relax=lambda alpha_EO: Weights(op_EO=(factor * alpha_EO).softmax(dim=-1)))
'''
OPERATION = '''
from torch import nn

from darts_core.ops import OPS


@OPS.register("shift_conv_3x3")
def shift_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """A 3x3 convolution of single channels with a BatchNorm."""
    conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels, affine=affine))
'''
SPACE = '''
from darts_core.nets.chain import ChainFrame
from darts_core.spaces import SPACES
from darts_core.spaces.space import CellSpace
from darts_core.supernet.shape import CellShape


@SPACES.register("one_edge")
def one_edge(*, init_channels: int = 4, layers: int = 3, primitives: tuple[str, ...] = ("skip_connect", "nor_conv_3x3")) -> CellSpace:
    """One edge (one's own): a cell of a single operation."""
    return CellSpace(
        name="one_edge",
        primitives=primitives,
        shape=CellShape(nodes=1, inputs=1, kept_edges=None, joined_nodes=1),
        cell_types=("normal",),
        frame=ChainFrame(),
        init_channels=init_channels,
        layers=layers,
        stem="cifar",
    )
'''
SMALL = {"name": "darts_cnn", "init_channels": 2, "layers": 3, "nodes": 1, "primitives": ["skip_connect", "sep_conv_3x3"]}


@pytest.fixture
def add_file(tmp_path, monkeypatch):
    """Write one file and import it; what it has registered is gone after the test."""
    for registry in (METHODS, OPS, SPACES):
        monkeypatch.setattr(registry, "_factories", dict(registry._factories))

    def add(source):
        path = tmp_path / "one_s_own.py"
        path.write_text(f'"""One\'s own."""\n{source}')
        spec = importlib.util.spec_from_file_location("one_s_own", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "one_s_own", module)
        spec.loader.exec_module(module)

    return add


@pytest.fixture
def loader():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 3, 8, 8, generator=generator)
    return [(images[k : k + 4], torch.tensor([0, 1, 2, 0])) for k in (0, 4, 8)]


def searched(loader, **sections):
    recipe = {"epochs": 2, "lr": 0.05, "arch_lr": 0.05, "backend": "eager"}
    return search_architecture(loader, loader, {"search": recipe, "space": SMALL, **sections}, device="cpu", verbose=False)


def test_a_method_is_one_file(add_file, loader, capsys):
    with pytest.raises(ConfigError, match=r"method\.name: no method is called 'sharp_darts'"):
        searched(loader, method={"name": "sharp_darts"})
    add_file(METHOD)
    plain = searched(loader)
    assert searched(loader, method={"name": "sharp_darts", "sharpness": 1.0}).history == plain.history, "a softmax of alpha is DARTS"
    found = searched(loader, method={"name": "sharp_darts", "sharpness": 9.0, "warmup_epochs": 1})
    assert "arch_loss" not in found.history[0], "it has every method's options"
    assert found.history[1] != plain.history[1]
    with pytest.raises(ConfigError, match=r"method\.sharpness must be above 0\. Got -1\."):
        searched(loader, method={"name": "sharp_darts", "sharpness": -1.0})
    assert main(["methods"]) == 0
    assert "Sharp DARTS" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["reference", "eager"])
def test_an_operation_is_one_file(add_file, loader, backend):
    add_file(OPERATION)
    space = {**SMALL, "primitives": ["none", "shift_conv_3x3"]}
    found = searched(loader, space=space, search={"epochs": 1, "backend": backend})
    assert {edge.op for cell in (found.normal, found.reduce) for _, edge in cell.edges} == {"shift_conv_3x3"}
    network = SPACES.build("darts_cnn", {"nodes": 1}).network(found.genotype, in_channels=3, num_classes=3, init_channels=2, layers=3)
    assert network(loader[0][0]).shape == (4, 3)
    assert any(isinstance(part, torch.nn.Conv2d) and part.groups == part.in_channels > 1 for part in network.modules())


@pytest.mark.parametrize("method", ["darts", "gdas", "random_search"])
def test_a_space_is_one_file(add_file, loader, method, capsys):
    add_file(SPACE)
    found = searched(loader, space={"name": "one_edge", "init_channels": 2}, method={"name": method})
    space = SPACES.build("one_edge")
    space.check(found.genotype)
    assert found.genotype.space == "one_edge"
    assert next(edge.op for _, edge in found.normal.edges) in space.primitives
    assert len({row["edge"] for row in found.alphas}) == 1
    network = space.network(found.genotype, in_channels=3, num_classes=3, init_channels=2, layers=3)
    assert network(loader[0][0]).shape == (4, 3)
    assert main(["spaces"]) == 0
    assert "One edge" in capsys.readouterr().out
