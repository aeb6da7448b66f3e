import pytest

from darts_core.methods import METHODS
from darts_core.search.bilevel import Exact, FirstOrder, Unrolled
from darts_core.search.derive import strongest_edges
from darts_core.search.relax import softmax
from darts_core.supernet.mixed import dense


@pytest.mark.parametrize(("name", "kind"), [("first", FirstOrder), ("unrolled", Unrolled), ("exact", Exact)])
def test_the_gradient_is_the_one_that_is_named(name, kind):
    method = METHODS.build("darts", {"arch_gradient": name})
    assert isinstance(method.arch_gradient, kind)
    assert (method.relax, method.mixed, method.derive) == (softmax, dense, strongest_edges)


def test_first_order_is_the_default():
    assert isinstance(METHODS.build("darts").arch_gradient, FirstOrder)


def test_another_gradient_is_refused():
    with pytest.raises(ValueError, match=r"method.arch_gradient: must be 'first', 'unrolled' or 'exact'. Got 'second'"):
        METHODS.build("darts", {"arch_gradient": "second"})
