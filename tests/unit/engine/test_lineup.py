import json

import pytest
import torch

from darts_core.config import RetrainConfig
from darts_core.engine.lineup import Entrant, Sizes, lineup, save_network, saved_networks
from darts_core.engine.training import Trained
from darts_core.genotype import GenotypeError, published
from darts_core.spaces.darts_cnn import darts_cnn

SPACE = darts_cnn()
CFG = RetrainConfig(init_channels=2, layers=3, baselines=("mobilenet_v2", "resnet20"), random_genotypes=2, auxiliary=True)
SIZES = Sizes.of(CFG, shape=(1, 8, 9), num_classes=3)


def entrants(seed=0):
    return lineup(published("DARTS_V1"), space=SPACE, cfg=CFG, seed=seed)


def trained(network):
    """Two epochs, of which the first one was better."""
    best = {name: value.clone() for name, value in network.state_dict().items()}
    last = {name: value + 1 for name, value in best.items()}
    rows = [{"epoch": epoch, "valid_acc": acc, "rolled_back": epoch - 1} for epoch, acc in ((1, 60.0), (2, 50.0))]
    return Trained(last=last, best=best, best_epoch=1, history=rows, costs=[])


def test_the_searched_network_comes_first_then_baselines_and_random_cells():
    names = [one.name for one in entrants()]
    assert names == ["searched", "mobilenet_v2", "resnet20", "random_0", "random_1"]
    searched, *_, random_0, random_1 = entrants()
    assert searched.genotype == published("DARTS_V1")
    assert random_0.genotype != random_1.genotype
    assert random_0 == entrants()[3], "drawn from the run's seed"
    assert random_0 != entrants(seed=1)[3]


def test_one_random_cell_more_leaves_the_others_as_they_were():
    fewer = lineup(published("DARTS_V1"), space=SPACE, cfg=CFG.model_copy(update={"random_genotypes": 1}), seed=0)
    assert fewer[-1] == entrants()[3]


@pytest.mark.parametrize("number", range(4))
def test_a_saved_network_comes_back(tmp_path, number):
    one = entrants()[number]
    network = one.build(SPACE, SIZES)
    for name in {"searched", one.name}:
        save_network(tmp_path / name, one, SIZES, trained(network))
    saved = saved_networks(tmp_path)
    assert next(iter(saved)) == "searched"
    assert saved[one.name].sizes == SIZES
    assert saved[one.name].entrant == one
    assert saved[one.name].rolled_back == (2,)
    x = torch.randn(2, 1, 8, 9)
    for which, shift in (("best", 0), ("last", 1)):
        network.load_state_dict({name: value + shift for name, value in trained(network).best.items()} if shift else network.state_dict())
        built = saved[one.name].build(SPACE, which)
        assert not built.training
        assert torch.equal(built(x), network.eval()(x))
    described = json.loads((tmp_path / one.name / "network.json").read_text())
    assert (described["best_epoch"], described["last_epoch"], described["schema_version"]) == (1, 2, 2)


def test_baselines_and_cells_take_the_images_as_they_are():
    for one in entrants():
        assert one.build(SPACE, SIZES).eval()(torch.randn(2, 1, 8, 9)).shape == (2, 3)


def test_networks_of_nobody_are_missed(tmp_path):
    with pytest.raises(ValueError, match=r"no network called 'searched' here. Run: dvc repro retrain"):
        saved_networks(tmp_path / "nowhere")
    save_network(tmp_path / "random_0", entrants()[3], SIZES, trained(entrants()[3].build(SPACE, SIZES)))
    with pytest.raises(ValueError, match="no network called 'searched' here"):
        saved_networks(tmp_path)


def test_another_schema_or_a_broken_genotype_is_refused(tmp_path):
    one = entrants()[0]
    save_network(tmp_path / "searched", one, SIZES, trained(one.build(SPACE, SIZES)))
    path = tmp_path / "searched" / "network.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "schema_version": 1}))
    with pytest.raises(ValueError, match=r"network.json: schema_version 2 expected. Got 1. Run: dvc repro -f retrain"):
        saved_networks(tmp_path)
    described["genotype"]["cells"]["normal"]["nodes"][0][0]["src"] = 7
    path.write_text(json.dumps(described))
    with pytest.raises(GenotypeError, match=r"network.json: normal cell, node 2, edge 0: src 7 makes a cycle"):
        saved_networks(tmp_path)


def test_an_entrant_without_a_genotype_is_the_baseline():
    assert type(Entrant(name="resnet20", baseline="resnet20").build(SPACE, SIZES)).__name__ == "ResNet20"
