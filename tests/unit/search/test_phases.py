"""The epochs of phases, what is kept on an edge, and what is refused."""

import pytest
import torch

from darts_core.methods import METHODS
from darts_core.search.phases import Phase, check_phases, span_of, spans, strongest_operations
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.spaces.restrict import restricted
from darts_core.supernet.offer import Offer

ANEW = Phase(starts_anew=True)


@pytest.mark.parametrize("epochs", [3, 7, 75])
def test_every_epoch_is_in_one_phase(epochs):
    found = spans((Phase(),) * 3, epochs)
    assert [epoch for span in found for epoch in range(span.first, span.end)] == list(range(epochs))
    assert max(span.epochs for span in found) - min(span.epochs for span in found) <= 1
    assert all(span_of((Phase(),) * 3, epochs, epoch).number == span.number for span in found for epoch in range(span.first, span.end))


def test_the_learning_rate_restarts_with_the_weights():
    assert [(s.lr_first, s.lr_end) for s in spans((ANEW, ANEW, ANEW), 75)] == [(0, 25), (25, 50), (50, 75)]
    assert [(s.lr_first, s.lr_end) for s in spans((Phase(), Phase()), 50)] == [(0, 50), (0, 50)]
    assert [(s.lr_first, s.lr_end) for s in spans((Phase(), ANEW, Phase()), 9)] == [(0, 3), (3, 9), (3, 9)]


def test_the_strongest_of_what_an_edge_still_offers_is_kept():
    offer = Offer.of("normal", ("a", "b", "c", "d"), (("a", "b", "c", "d"), ("a", "c", "d"), ("b", "d")), edges=3)
    op_EO = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.0, 0.2, 0.6], [0.0, 0.4, 0.0, 0.6]])
    assert strongest_operations({"normal": op_EO}, {"normal": offer}, lambda count: 2) == {"normal": [["c", "d"], ["a", "d"], ["b", "d"]]}


def test_what_cannot_be_kept_is_refused():
    space = darts_cnn(primitives=("none", "skip_connect", "sep_conv_3x3"))
    for kept in (4, 1):  # one operation might be none, of which no cell can be derived
        with pytest.raises(ValueError, match=rf"method\.kept_operations: 2 to 3 expected for phase 2, .* Got {kept}\."):
            check_phases((Phase(), Phase(keeps=lambda count, kept=kept: kept)), space)
    check_phases((Phase(), Phase(keeps=lambda count: 2)), space)


def test_an_edge_of_few_operations_keeps_its_own():
    edges = {"0-2": ("skip_connect",), "normal/1-2": ("none", "sep_conv_3x3")}
    space = restricted(darts_cnn(nodes=2, primitives=("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3")), edges=edges)
    for name, options in (
        ("p_darts", {"kept_operations": (3, 2), "add_layers": (0, 0, 0)}),
        ("drnas", {"progressive": True, "kept_operations": 2}),
    ):
        phases = METHODS.build(name, options).phases
        check_phases(phases, space)
        offers = space.offers()
        even = {c: offer.mask(torch.zeros(())) for c, offer in offers.items()}
        left = strongest_operations(even, offers, phases[-1].keeps)
        assert left["normal"][:2] == [["skip_connect"], ["none", "sep_conv_3x3"]]
        assert [len(own) for own in left["normal"][2:]] == [2, 2, 2]
    for kept in ((5, 2), (3, 1)):  # no edge has so many; one would be left with what may be none
        phase = 2 if kept[0] == 5 else 3
        with pytest.raises(ValueError, match=rf"method\.kept_operations: 2 to . expected for phase {phase}, .* Got {kept[phase - 2]}\."):
            check_phases(METHODS.build("p_darts", {"kept_operations": kept, "add_layers": (0, 0, 0)}).phases, space)
    with pytest.raises(ValueError, match=r"method\.kept_operations: 2 to 4 expected for phase 2, .* Got 1\."):
        check_phases(METHODS.build("drnas", {"progressive": True}).phases, space)  # half of two, of which one is none


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("p_darts", {"skip_dropout": [0.0, 1.0, 0.5]}, r"method\.skip_dropout\[1\] must be at least 0 and below 1\. Got 1\."),
        ("p_darts", {"add_layers": [0, -1, 2]}, r"method\.add_layers\[1\] must be at least 0\. Got -1\."),
        ("p_darts", {"arch_gradient": "unrolled"}, r"must be first where each forward pass draws anew"),
        ("drnas", {"kept_operations": 3}, r"method\.kept_operations: set method\.progressive to true"),
        ("drnas", {"progressive": True, "channel_proportions": [2, 4]}, r"the second no larger, expected\. Got 2 and 4\."),
        (
            "drnas",
            {"progressive": True, "channel_proportion": 2},
            r"method\.channel_proportion: leave it out, for the phases have",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(name, options)


def test_the_published_supernets_have_their_parameters():
    """P-DARTS: 11 cells of 16 channels in the second phase; DrNAS: 36 channels, 20 cells, one channel in 6 and then in 4."""

    def weights(method, space, phase):
        with torch.device("meta"):
            net = method.supernet(space, in_channels=3, num_classes=10, generator=torch.Generator(), phase=phase)
        return sum(p.numel() for p in net.weights().values())

    p_darts, drnas = METHODS.build("p_darts"), METHODS.build("drnas", {"progressive": True})
    assert weights(p_darts, darts_cnn(layers=5), 1) == 2_585_146
    whole = darts_cnn()
    space = darts_cnn(init_channels=36, layers=20, primitives=whole.primitives[1:])
    assert weights(drnas, space, 0) == 2_221_750
    assert weights(drnas, space, 1) == 2_986_462
