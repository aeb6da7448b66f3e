import torch

from darts_core.search.relax import softmax, softmax_edges


def test_softmax_over_the_operations_of_each_edge():
    alpha_EO = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    op_EO = softmax(alpha_EO).op_EO
    torch.testing.assert_close(op_EO, alpha_EO.exp() / alpha_EO.exp().sum(1, keepdim=True))
    torch.testing.assert_close(op_EO.sum(1), torch.ones(5, dtype=torch.float64))


def test_softmax_over_the_edges_of_each_node():
    beta_E = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edge_E = softmax_edges(beta_E)
    for start, end in ((0, 2), (2, 5), (5, 9)):
        torch.testing.assert_close(edge_E[start:end], beta_E[start:end].exp() / beta_E[start:end].exp().sum())
