"""Attention across the spots of a section."""

from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head scaled dot-product attention, of spots to each other or to a memory.

    Heads are merged spot by spot.

    Parameters
    ----------
    n_inputs : int
        Width of the spots, and of the memory.
    n_heads : int
    head_dim : int
    bias : bool, default=True
        Whether queries, keys and values have one; the output always has.
    dropout : float, default=0.0
        On the attention weights.
    """

    def __init__(self, n_inputs, n_heads, head_dim, bias=True, dropout=0.0):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.query = nn.Linear(n_inputs, n_heads * head_dim, bias=bias)
        self.key = nn.Linear(n_inputs, n_heads * head_dim, bias=bias)
        self.value = nn.Linear(n_inputs, n_heads * head_dim, bias=bias)
        self.output = nn.Linear(n_heads * head_dim, n_inputs)

    def forward(self, x, memory=None):
        """Attend from float32 (n_spots, n_inputs) to a memory of that width; None is x itself.

        Returns a Tensor of shape (n_spots, n_inputs).
        """
        memory = x if memory is None else memory
        attended = F.scaled_dot_product_attention(
            self._heads(self.query(x)),
            self._heads(self.key(memory)),
            self._heads(self.value(memory)),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(attended.squeeze(0).transpose(0, 1).flatten(1))

    def _heads(self, x):
        # One section is a batch of one: torch's fused kernels want four dimensions.
        return x.unflatten(1, (self.n_heads, -1)).transpose(0, 1).unsqueeze(0)


class TransformerBlock(nn.Module):
    """A pre-norm block: x + attention(LayerNorm(x)), then x + feed-forward(LayerNorm(x)).

    Of a cross-attention only the side of the queries is normalised.

    Parameters
    ----------
    n_inputs, n_heads, head_dim : int
    hidden_dim : int
        Width of the feed-forward layer, which has a GELU.
    bias : bool, default=True
        Of queries, keys and values.
    dropout : float, default=0.0
        On attention weights and on what either part adds.
    """

    def __init__(self, n_inputs, n_heads, head_dim, hidden_dim, bias=True, dropout=0.0):
        super().__init__()
        self.attention_norm = nn.LayerNorm(n_inputs)
        self.attention = Attention(n_inputs, n_heads, head_dim, bias, dropout)
        self.feed_forward_norm = nn.LayerNorm(n_inputs)
        self.feed_forward = nn.Sequential(
            nn.Linear(n_inputs, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, n_inputs),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, memory=None):
        """Map float32 (n_spots, n_inputs), with or without a memory, to the same shape."""
        x = x + self.dropout(self.attention(self.attention_norm(x), memory))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class Transformer(nn.Module):
    """Transformer blocks, one after the other.

    mclSTExp sets the spots of a section in relation with it; Reg2ST decodes with it, from a
    memory.

    Parameters
    ----------
    n_layers : int
    n_inputs, n_heads, head_dim, hidden_dim, bias, dropout
        Of each `TransformerBlock`.
    """

    def __init__(self, n_layers, n_inputs, n_heads, head_dim, hidden_dim, **block):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerBlock(n_inputs, n_heads, head_dim, hidden_dim, **block)
            for _ in range(n_layers)
        )

    def forward(self, x, memory=None):
        """Map float32 (n_spots, n_inputs), with or without a memory, to the same shape."""
        for block in self.blocks:
            x = block(x, memory)
        return x
