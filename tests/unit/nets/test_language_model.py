import pytest
import torch
import torch.nn.functional as F

from darts_core.genotype import Cell, Edge, published
from darts_core.metrics import count_parameters
from darts_core.nets.dropout import Dropout, Masks
from darts_core.nets.language_model import LanguageModel, activation_penalty
from darts_core.nets.recurrent_cell import RecurrentCell

CELL = Cell(((Edge("tanh", 0),), (Edge("identity", 0),), (Edge("sigmoid", 2),), (Edge("relu", 0),)), concat=(1, 3, 4), inputs=1)
EVERYWHERE = Dropout(embedding=0.3, inputs=0.2, gates=0.4, hidden=0.25, outputs=0.5)


def model(cell=CELL, *, width=6, num_tokens=11, dropout=EVERYWHERE, seed=0):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return LanguageModel(RecurrentCell(cell, width), num_tokens=num_tokens, dropout=dropout, generator=generator).double()


def tokens(steps=5, batch=3):
    return torch.randint(11, (steps, batch), generator=torch.Generator().manual_seed(7))


def slow_cell(own, x_TBD, h_BD, masks):
    """The equations, one at a time."""
    width, outputs = own.width, []
    for x in x_TBD:
        seen = torch.cat([x * masks.gates_BD, h_BD * masks.hidden_BD], dim=1) @ own.first.W0
        states = [h_BD + seen[:, :width].sigmoid() * (seen[:, width:].tanh() - h_BD)]
        for edges, w in zip(own.cell.nodes, own.W):
            s = states[edges[0].src]
            made = (s * masks.hidden_BD) @ w
            f = {"tanh": torch.tanh, "identity": lambda h: h, "sigmoid": torch.sigmoid, "relu": torch.relu}[edges[0].op]
            states.append(s + made[:, :width].sigmoid() * (f(made[:, width:]) - s))
        h_BD = sum(states[k] for k in own.cell.concat) / len(own.cell.concat)
        outputs.append(h_BD)
    return torch.stack(outputs), h_BD


def test_the_cell_is_its_equations():
    own = model().core
    generator = torch.Generator().manual_seed(1)
    x, h = (torch.randn(*shape, 3, 6, dtype=torch.float64, generator=generator) for shape in ((5,), (1,)))
    masks = Masks(gates_BD=torch.rand(3, 6, dtype=torch.float64), hidden_BD=torch.rand(3, 6, dtype=torch.float64))
    (found, state), (expected, last) = own(x, h, masks), slow_cell(own, x, h[0], masks)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last.unsqueeze(0), rtol=1e-12, atol=1e-12)
    parameters = list(own.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), parameters), torch.autograd.grad(expected.square().sum(), parameters)
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_two_windows_are_one_longer_window():
    own, ids = model().eval(), tokens(steps=6)
    whole = own(ids, own.first_state(3))
    first = own(ids[:2], own.first_state(3))
    second = own(ids[2:], first.state_SBD)
    torch.testing.assert_close(torch.cat([first.logits_NV, second.logits_NV]), whole.logits_NV)
    torch.testing.assert_close(second.state_SBD, whole.state_SBD)


@pytest.mark.parametrize(("name", "params"), [("DARTS_RNN_V1", 22_960_000), ("DARTS_RNN_V2", 22_960_000), ("ENAS_RNN", 27_295_000)])
def test_the_papers_parameter_counts(name, params):
    with torch.device("meta"):
        own = LanguageModel(RecurrentCell(published(name).normal, 850), num_tokens=10_000, dropout=Dropout(), generator=torch.Generator())
    assert count_parameters(own) == params


def test_masks_are_locked_over_time_and_fresh_in_every_pass():
    own = model(dropout=Dropout(outputs=0.5))
    first, second = (own(tokens(), own.first_state(3)) for _ in range(2))
    dropped = (first.dropped_TBD == 0) & (first.raw_TBD != 0)
    assert dropped.any()
    assert not dropped.all()
    assert (dropped == dropped[0]).all(), "one mask for all steps"
    assert torch.allclose(first.dropped_TBD[~dropped], 2 * first.raw_TBD[~dropped])
    assert not torch.equal(first.dropped_TBD, second.dropped_TBD)


def test_whole_words_are_dropped():
    own = model(dropout=Dropout(embedding=0.5))
    masks = own.masks(3)
    kept = masks.words_V1.squeeze() != 0
    assert 0 < kept.sum() < len(kept)
    x = own.embedded(torch.arange(11).view(11, 1), masks).squeeze(1)
    assert torch.equal(x[~kept], torch.zeros_like(x[~kept]))
    assert torch.equal(x[kept], 2 * own.embedding.weight[kept])


def test_the_random_state_of_the_masks_is_saved():
    own, other = model(), model(seed=1)
    own(tokens(), own.first_state(3))
    other.load_state_dict(own.state_dict())
    torch.rand(3)
    assert torch.equal(own(tokens(), own.first_state(3)).logits_NV, other(tokens(), other.first_state(3)).logits_NV)


def test_nothing_is_drawn_in_evaluation():
    own = model().eval()
    before = own.noise.get_extra_state()
    first, second = (own(tokens(), own.first_state(3)) for _ in range(2))
    assert torch.equal(first.logits_NV, second.logits_NV)
    assert torch.equal(before, own.noise.get_extra_state())


def test_embedding_and_decoder_are_tied():
    own = model(dropout=Dropout())
    out = own(tokens(), own.first_state(3))
    assert out.logits_NV.shape == (15, 11)
    torch.testing.assert_close(out.logits_NV, out.raw_TBD.flatten(0, 1) @ own.embedding.weight.t() + own.bias)
    F.cross_entropy(out.logits_NV, tokens().flatten()).backward()
    assert own.embedding.weight.grad.abs().sum(1).all(), "every word is predicted, and so learns"


def test_penalties_are_means_of_squares():
    out = model()(tokens(), torch.zeros(1, 3, 6, dtype=torch.float64))
    slow = (out.raw_TBD[1:] - out.raw_TBD[:-1]).pow(2).mean()
    expected = 2.0 * out.dropped_TBD.pow(2).mean() + 3.0 * slow
    torch.testing.assert_close(activation_penalty(out.raw_TBD, out.dropped_TBD, activation=2.0, slowness=3.0), expected)
    assert activation_penalty(out.raw_TBD, out.dropped_TBD, activation=0.0, slowness=0.0) == 0.0
    short = out._replace(raw_TBD=out.raw_TBD[:1])
    assert activation_penalty(short.raw_TBD, short.dropped_TBD, activation=0.0, slowness=3.0) == 0.0, "one token has no difference in time"


def test_probabilities_are_checked():
    with pytest.raises(ValueError, match=r"dropout_hidden must be at least 0 and below 1\. Got 1\.0\."):
        Dropout(hidden=1.0)
