"""Attention and transformer blocks against their formulas."""

import torch
from torch.nn import functional as F

from histoexpr._types import SpotBatch
from histoexpr.nn import Attention, SpotEncoder, Transformer, TransformerBlock


def formula(attention, x, memory):
    """One head after the other."""
    head_dim = len(attention.query.weight) // attention.n_heads
    heads = []
    for head in range(attention.n_heads):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        q, k, v = (
            values @ layer.weight[rows].T + (0 if layer.bias is None else layer.bias[rows])
            for layer, values in (
                (attention.query, x),
                (attention.key, memory),
                (attention.value, memory),
            )
        )
        heads.append(torch.softmax(q @ k.T / head_dim**0.5, dim=1) @ v)
    return torch.cat(heads, dim=1) @ attention.output.weight.T + attention.output.bias


def test_attention_is_its_formula():
    torch.manual_seed(0)
    x, memory = torch.randn(9, 6), torch.randn(5, 6)
    attention = Attention(6, n_heads=3, head_dim=4)
    torch.testing.assert_close(attention(x), formula(attention, x, x))
    torch.testing.assert_close(attention(x, memory), formula(attention, x, memory))
    bare = Attention(6, n_heads=2, head_dim=5, bias=False)
    assert bare.query.bias is bare.key.bias is bare.value.bias is None
    torch.testing.assert_close(bare(x), formula(bare, x, x))


def test_block_normalises_before_each_part_and_never_the_memory():
    torch.manual_seed(0)
    block = TransformerBlock(6, n_heads=2, head_dim=3, hidden_dim=10).eval()
    x, memory = torch.randn(9, 6), 5 * torch.randn(7, 6)
    attended = x + formula(block.attention, block.attention_norm(x), memory)
    wide, _, narrow = block.feed_forward
    expected = attended + narrow(F.gelu(wide(block.feed_forward_norm(attended))))
    torch.testing.assert_close(block(x, memory), expected)
    own = block.attention_norm(x)
    attended = x + formula(block.attention, own, own)
    expected = attended + narrow(F.gelu(wide(block.feed_forward_norm(attended))))
    torch.testing.assert_close(block(x), expected)


def test_transformer_passes_the_memory_to_each_block():
    torch.manual_seed(0)
    transformer = Transformer(2, 6, 2, 3, 10).eval()
    x, memory = torch.randn(4, 6), torch.randn(7, 6)
    first, second = transformer.blocks
    torch.testing.assert_close(transformer(x, memory), second(first(x, memory), memory))


def test_dropout_is_for_training():
    torch.manual_seed(0)
    x = torch.randn(5, 6)
    transformer = Transformer(1, 6, 2, 3, 10, dropout=0.5)
    assert not torch.equal(transformer(x), transformer(x))
    transformer.eval()
    assert torch.equal(transformer(x), transformer(x))
    attention = Attention(6, 2, 3, dropout=0.5)
    assert not torch.equal(attention(x), attention(x))


def attention_encoder(n_genes=4, grid_shape=(3, 3)):
    context = Transformer(2, n_genes, 2, 3, n_genes, bias=False)
    return SpotEncoder(n_genes, grid_shape, 8, context=context).eval()


def test_the_order_of_spots_is_of_no_account():
    torch.manual_seed(0)
    positions = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    batch = SpotBatch(torch.empty(9, 0), torch.rand(9, 4), positions)
    encoder, order = attention_encoder(), torch.randperm(9)
    torch.testing.assert_close(encoder(batch)[order], encoder(batch[order]))


def test_a_section_of_one_spot_and_one_without_positions():
    encoder = attention_encoder(grid_shape=None)
    alone = encoder(SpotBatch(torch.empty(1, 0), torch.rand(1, 4)))
    assert alone.shape == (1, 8) and alone.isfinite().all()


def test_spots_see_each_other():
    torch.manual_seed(0)
    batch = SpotBatch(torch.empty(6, 0), torch.rand(6, 4))
    encoder = attention_encoder(grid_shape=None)
    assert not torch.allclose(encoder(batch)[:3], encoder(batch[:3]), atol=1e-4)
