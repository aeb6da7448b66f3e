"""What cells of a language model are ranked by with shared weights: the loss on the same text, with nothing dropped."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.data.windows import Windows
from darts_core.engine.loop import assess
from darts_core.engine.selection import selected
from darts_core.methods import METHODS
from darts_core.runtime.seed import seeded, stream
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES

WORDS, BPTT = 9, 5
SIZES = {"nodes": 2, "hidden": 6, "bptt": BPTT}
DROPPED = dict.fromkeys(("dropout_embedding", "dropout_inputs", "dropout_gates", "dropout_hidden", "dropout_outputs"), 0.4)
TEXT = torch.randint(WORDS, (17, 4), generator=torch.Generator().manual_seed(2))


@dataclasses.dataclass
class Asking:
    """A selection that asks twice for the quality of each of some architectures, and takes the last."""

    genotypes: list
    batches: int | None = None
    by_loss: bool = False
    rule: str = "asking"

    def __call__(self, supernet, space, *, evaluate, tune, generator):
        self.told = []
        for genotype in self.genotypes * 2:
            with supernet.only(genotype):
                self.told.append(evaluate())
        return self.genotypes[-1], self.told[-1]


def build(space, select):
    method = dataclasses.replace(METHODS.build("random_search", {"samples": 1, "score_batches": 1}), select=select)
    with seeded(0, "weights"):
        supernet = method.supernet(space, in_channels=WORDS, num_classes=WORDS, generator=stream(0, "alphas"))
    return Bilevel(supernet, method, SearchConfig(epochs=1, lr=0.2, lr_min=0.2, momentum=0.0))


@pytest.mark.parametrize("batches", [None, 2])
def test_it_is_minus_the_loss_without_dropout(batches, caplog):
    space = SPACES.build("darts_rnn", {**SIZES, **DROPPED})
    genotypes = [space.random_genotype(stream(seed, "genotype")) for seed in range(4)]
    select = Asking(genotypes, batches)
    bilevel = build(space, select)
    windows = Windows(TEXT, BPTT)
    caplog.set_level("INFO")
    selected(bilevel, space, train=windows, valid=iter(Windows(TEXT, BPTT, is_endless=True)), held_out=windows, place=iter)
    plain = build(SPACES.build("darts_rnn", {**SIZES, **dict.fromkeys(DROPPED, 0.0)}), None).supernet
    plain.load_state_dict(bilevel.supernet.state_dict())
    plain.train()
    for number, genotype in enumerate(genotypes):
        total = count = 0.0
        with plain.only(genotype), torch.no_grad():
            for place, (window, targets) in enumerate(Windows(TEXT, BPTT)):
                if batches is not None:
                    window.state_SBD = None  # those were taken side by side, ahead of any pass
                if batches is None or place < batches:
                    total += float(F.cross_entropy(plain(window), targets, reduction="sum"))
                    count += len(targets)
        assert select.told[number] == pytest.approx(-total / count, rel=1e-5)
        assert select.told[number] == select.told[number + len(genotypes)], "chance has no part in it"
    assert len(set(select.told)) == len(genotypes)
    assert f"has a perplexity of {math.exp(-select.told[-1]):.2f} on " in caplog.text
    assert bilevel.supernet.training


@torch.no_grad()
def test_a_loss_that_is_no_number_is_the_worst():
    space = SPACES.build("darts_rnn", SIZES)
    supernet = build(space, None).supernet
    window, targets = next(iter(Windows(TEXT, BPTT)))
    supernet.ranking()
    assert math.isfinite(supernet.quality(window, targets))
    supernet.model.bias.fill_(float("nan"))
    assert supernet.quality(window, targets) == -math.inf


@pytest.mark.parametrize(("name", "reads"), [("gdas", False), ("random_search", False), ("darts", True)])
def test_the_held_out_loss_of_drawn_paths_hangs_on_no_running_statistics(name, reads):
    """They are of the paths of the last tokens: with them the states of another path can grow until the loss is no number."""
    space = SPACES.build("darts_rnn", SIZES)
    with seeded(0, "weights"):
        supernet = METHODS.build(name).supernet(space, in_channels=WORDS, num_classes=WORDS, generator=stream(0, "alphas"))
    losses = []
    for variance in (1.0, 1e-6):
        supernet.cell.bn.running_var.fill_(variance)
        losses.append(assess(supernet, Windows(TEXT, BPTT), mode=supernet.assessing)[0])
    assert math.isfinite(losses[0])
    assert (losses[0] != losses[1]) is reads
    assert supernet.training
