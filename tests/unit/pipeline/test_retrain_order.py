from types import SimpleNamespace

from darts_core.config import Config
from darts_core.engine.lineup import Sizes, lineup
from darts_core.genotype import published
from darts_core.pipeline.image_training import ImageTraining
from darts_core.pipeline.retrain import _longest_first
from darts_core.spaces import SPACES


def test_the_longest_training_starts_first():
    """MobileNetV2 has ten times ResNet-20's parameters; the cell network has fewer than either, and takes longer than the latter."""
    cfg = Config.model_validate({"data": {"name": "digits"}, "retrain": {"layers": 3, "init_channels": 32, "random_genotypes": 0}})
    space = SPACES.build("darts_cnn", {})
    entrants = lineup(published("DARTS_V2"), space=space, cfg=cfg.retrain, seed=0)
    own = SimpleNamespace(space=space, sizes=Sizes.of(cfg.retrain, shape=(1, 8, 8), num_classes=10))
    order = _longest_first(SimpleNamespace(costs=lambda entrant: ImageTraining.costs(own, entrant)), entrants)
    assert sorted(order) == ["mobilenet_v2", "resnet20", "searched"]
    assert order[-1] == "resnet20"
