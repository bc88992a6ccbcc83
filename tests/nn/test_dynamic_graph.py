"""The graph that Reg2ST's spots choose, against its description."""

import pytest
import torch
from torch.nn import functional as F

from histoexpr.nn import DynamicGraph


def by_definition(graph, x, heads, tails):
    x = F.leaky_relu(graph.input(x), 0.01)
    x = (x + x.mean(dim=0)) / 2
    e, t = graph.head(heads), graph.tail(tails)
    taken = []
    for spot in range(len(x)):
        products = t @ e[spot] / x.shape[1] ** 0.5
        best = products.argsort(descending=True)[: graph.n_partners]
        p = torch.softmax(products[best], dim=0)
        scores = []
        for share, partner in zip(p, best):
            r = share * t[partner] + (1 - share) * e[spot]
            scores.append(t[partner].sum() * torch.tanh(e[spot] + r).sum())
        taken.append(torch.softmax(torch.stack(scores), dim=0) @ t[best])
    n = torch.stack(taken)
    both = F.leaky_relu(graph.sum(x + n)) + F.leaky_relu(graph.product(x * n))
    return graph.output(graph.norm(both))


@pytest.mark.parametrize("n_spots", [1, 3, 20])
def test_dynamic_graph_is_its_description(n_spots):
    torch.manual_seed(0)
    graph = DynamicGraph(8, n_partners=6).eval()
    inputs = torch.randn(3, n_spots, 8)
    torch.testing.assert_close(graph(*inputs), by_definition(graph, *inputs), rtol=1e-4, atol=1e-5)


def test_the_order_of_spots_is_of_no_account():
    torch.manual_seed(0)
    graph = DynamicGraph(8).eval()
    inputs, order = torch.randn(3, 20, 8), torch.randperm(20)
    torch.testing.assert_close(graph(*inputs[:, order]), graph(*inputs)[order])


def test_the_choice_has_a_gradient_through_its_shares():
    torch.manual_seed(0)
    graph = DynamicGraph(8).eval()
    graph(*torch.randn(3, 20, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in graph.parameters())
