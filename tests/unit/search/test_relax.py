import torch

from darts_core.search.relax import softmax


def test_softmax_over_the_operations_of_each_edge():
    alpha_EO = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    op_EO = softmax(alpha_EO).op_EO
    torch.testing.assert_close(op_EO, alpha_EO.exp() / alpha_EO.exp().sum(1, keepdim=True))
    torch.testing.assert_close(op_EO.sum(1), torch.ones(5, dtype=torch.float64))
