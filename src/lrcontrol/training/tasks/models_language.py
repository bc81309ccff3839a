"""Models of texts: they read words or characters as numbers, shape (rows, length); 0 is padding where there is any."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.training.tasks.vocabulary import MASK, PADDING

__all__ = [
    "Attention",
    "AttentionTranslator",
    "BagOfWords",
    "Block",
    "Convolutions",
    "Generator",
    "MaskedWords",
    "RecurrentGenerator",
    "RecurrentTagger",
    "RecurrentTranslator",
]


class Attention(nn.Module):
    """Several heads of scaled dot products from each place to those of a memory.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, places: Tensor, memory: Tensor, *, seen: Tensor | None = None, causal: bool = False) -> Tensor:
        """Shape of `places`; `seen` of shape (rows, memory length) says what of the memory is no padding."""
        query = self._split(self.query(places))
        key, value = (self._split(part) for part in self.key_value(memory).chunk(2, dim=-1))
        mask = None if seen is None else seen[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def _split(self, values: Tensor) -> Tensor:
        return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention to itself, attention to a memory where it has one, and two linear layers; each normed before.

    Source:
        Radford et al. 2019, GPT-2 (layer norm before each part).
    """

    def __init__(self, width: int, heads: int, *, causal: bool, crossing: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal = causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if crossing else 2))
        self.within = Attention(width, heads)
        self.across = Attention(width, heads) if crossing else None
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, places: Tensor, *, seen: Tensor | None = None, memory: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Shape of `places`; `seen` is what of them is no padding, `known` what of the memory is none."""
        normed = self.norms[0](places)
        places = places + self.dropout(self.within(normed, normed, seen=seen, causal=self.causal))
        if self.across is not None and memory is not None:
            places = places + self.dropout(self.across(self.norms[2](places), memory, seen=known))
        result: Tensor = places + self.dropout(self.layers(self.norms[1](places)))
        return result


class Generator(nn.Module):
    """A transformer over symbols and their places, which sees what is before: logits of the next symbol.

    Args:
        symbols: how many there are.
        length: of a row.
        width, heads, layers: of the transformer.
    """

    def __init__(self, symbols: int, length: int, width: int, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.symbols = nn.Embedding(symbols, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=True) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, symbols))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, length, symbols)."""
        result: Tensor = self.head(self.blocks(self.symbols(inputs) + self.places.weight))
        return result


class MaskedWords(nn.Module):
    """A transformer that sees the whole row: logits of its masked words, as many in every row.

    A convolution over five words tells it their order. With embeddings of the places instead, as BERT has them, it
    stays at the frequencies of the words for longer than a small run lasts.

    Args:
        symbols: how many there are.
        width, heads, layers: of the transformer.
    Source:
        Devlin et al. 2019, arXiv:1810.04805, section 3.1. Deviates: as above; every target is masked.
    """

    def __init__(self, symbols: int, width: int, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.symbols = nn.Embedding(symbols, width)
        self.around = nn.Conv1d(width, width, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, symbols))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, masks in a row, symbols)."""
        words = self.symbols(inputs)
        read = self.blocks(words + self.around(words.transpose(1, 2)).transpose(1, 2))
        masked = read[inputs == MASK].view(len(inputs), -1, read.shape[-1])
        result: Tensor = self.head(masked)
        return result


class RecurrentGenerator(nn.Module):
    """An LSTM: logits of the next symbol at every place."""

    def __init__(self, symbols: int, embedded: int, width: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(symbols, embedded)
        self.recurrence = nn.LSTM(embedded, width, batch_first=True)
        self.head = nn.Linear(width, symbols)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, length, symbols)."""
        result: Tensor = self.head(self.recurrence(self.symbols(inputs))[0])
        return result


class BagOfWords(nn.Module):
    """The mean of the words' embeddings, and a linear layer: the order of the words does not count."""

    def __init__(self, symbols: int, width: int, classes: int = 2, dropout: float = 0.5) -> None:
        super().__init__()
        self.words = nn.Embedding(symbols, width, padding_idx=PADDING)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, classes)."""
        count = (inputs != PADDING).sum(dim=1, keepdim=True).clamp(min=1)
        result: Tensor = self.head(self.words(inputs).sum(dim=1) / count)
        return result


class Convolutions(nn.Module):
    """Convolutions over 3, 4 and 5 words, the largest of each over the sentence, dropout and a linear layer.

    Source:
        Kim 2014, arXiv:1408.5882, section 2, with words learnt from nothing (CNN-rand).
    """

    def __init__(self, symbols: int, width: int, maps: int, classes: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(symbols, width, padding_idx=PADDING)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, maps, size, padding=size // 2) for size in (3, 4, 5))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(3 * maps, classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, classes)."""
        words = self.words(inputs).transpose(1, 2)
        found = [functional.relu(convolution(words)).amax(dim=2) for convolution in self.convolutions]
        result: Tensor = self.head(torch.cat(found, dim=1))
        return result


class RecurrentTagger(nn.Module):
    """An LSTM in each direction over words told by several numbers each: logits of every word's tag.

    Args:
        symbols: how many numbers there are of each kind.
        widths: of the embedding of each kind.
        width: of the LSTM in one direction.
        tags: how many there are.
    """

    def __init__(
        self, symbols: tuple[int, ...], widths: tuple[int, ...], width: int, tags: int, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.views = nn.ModuleList(
            nn.Embedding(count, size, padding_idx=PADDING) for count, size in zip(symbols, widths, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.recurrence = nn.LSTM(sum(widths), width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, length, tags) for inputs of shape (rows, length, kinds)."""
        words = torch.cat([view(inputs[..., kind]) for kind, view in enumerate(self.views)], dim=-1)
        result: Tensor = self.head(self.dropout(self.recurrence(self.dropout(words))[0]))
        return result


class RecurrentTranslator(nn.Module):
    """An LSTM reads the source, another writes the target and attends to what was read, by dot products.

    Args:
        source, target: how many symbols each language has.
        length: of a source; inputs are the source and then the target so far.
        width: of embeddings and LSTMs.
    Source:
        Luong, Pham, Manning 2015, arXiv:1508.04025, section 3.1, "dot", without feeding the attention back in.
    """

    def __init__(self, source: int, target: int, length: int, width: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.length = length
        self.source = nn.Embedding(source, width, padding_idx=PADDING)
        self.target = nn.Embedding(target, width, padding_idx=PADDING)
        self.reader = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.writer = nn.LSTM(width, width, batch_first=True)
        self.attention = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, target)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, target length, target symbols)."""
        read, _ = self.reader(self.dropout(self.source(inputs[:, : self.length])))
        written, _ = self.writer(self.dropout(self.target(inputs[:, self.length :])))
        seen = (inputs[:, : self.length] != PADDING)[:, None]
        weights = (written @ read.transpose(1, 2)).masked_fill(~seen, -torch.inf).softmax(dim=-1)
        mixed = torch.tanh(self.attention(torch.cat([weights @ read, written], dim=-1)))
        result: Tensor = self.head(self.dropout(mixed))
        return result


class AttentionTranslator(nn.Module):
    """A transformer that reads the source, and one that writes the target and attends to what was read.

    Args:
        source, target: how many symbols each language has.
        length: of a source; inputs are the source and then the target so far, one longer.
        width, heads, layers: of both transformers.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762. Deviates: norms before each part, learnt places.
    """

    def __init__(
        self, source: int, target: int, length: int, width: int, heads: int = 4, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.length = length
        self.source, self.target = nn.Embedding(source, width), nn.Embedding(target, width)
        self.places = nn.Embedding(length + 1, width)
        self.readers = nn.ModuleList(Block(width, heads, causal=False, dropout=dropout) for _ in range(layers))
        self.writers = nn.ModuleList(
            Block(width, heads, causal=True, crossing=True, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, target))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (rows, target length, target symbols)."""
        given = inputs[:, : self.length]
        seen = given != PADDING
        read = self.dropout(self.source(given) + self.places.weight[: self.length])
        for block in self.readers:
            read = block(read, seen=seen)
        read = self.norm(read)
        written = self.dropout(self.target(inputs[:, self.length :]) + self.places.weight)
        for block in self.writers:
            written = block(written, memory=read, known=seen)
        result: Tensor = self.head(written)
        return result
