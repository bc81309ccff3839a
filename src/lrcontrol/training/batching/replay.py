"""Replay: a step traced to its tensor operations, so that a repeated one costs no Python but theirs.

What a trace would get wrong is not replayed: operations whose sizes depend on the data, and draws it does not know.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from lrcontrol.training.batching.step import Step

__all__ = ["Noise", "Replay", "replay_of"]

aten = torch.ops.aten

FILLS: dict[Any, str] = {
    aten.bernoulli.p: "bernoulli_",
    aten.rand_like.default: "uniform_",
    aten.randn_like.default: "normal_",
    aten.rand.default: "uniform_",
    aten.randn.default: "normal_",
}
"""Operations that draw, and the method that fills a tensor as they do."""

PARTS: Any = get_decompositions([aten.native_dropout])
"""Dropout on an accelerator is one operation; in parts it is one that draws, and others."""

PLAIN: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.bmm.default: torch.bmm,
    aten.expand.default: torch.Tensor.expand,
    aten.mul.Tensor: torch.mul,
    aten.permute.default: torch.permute,
    aten.relu.default: torch.relu,
    aten.sum.dim_IntList: torch.sum,
    aten.transpose.int: torch.transpose,
    aten.unsqueeze.default: torch.unsqueeze,
    aten.view.default: torch.reshape,
    aten._unsafe_view.default: torch.reshape,
}
"""The same operations by a shorter way; a view may have become one of other strides, so that it must copy."""

NARROW = 16  # columns below which the matrix product of a transpose is faster on a CPU


class Noise(NamedTuple):
    """What a step draws at one place.

    Args:
        shape: of what a run draws.
        dtype, device: of it.
        fill: the method that draws.
        arguments: of that method.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    fill: str
    arguments: tuple[Any, ...]

    def drawn(self, generators: Sequence[torch.Generator], rows: Tensor | None) -> Tensor:
        """A row a run, each from its generator: `rows` says which; None where all have the first."""
        values = torch.empty((len(generators), *self.shape), dtype=self.dtype, device=self.device)
        for value, generator in zip(values, generators, strict=True):
            getattr(value, self.fill)(*self.arguments, generator=generator)
        return values if rows is None else values[rows]


class Replay(NamedTuple):
    """A step as operations.

    Args:
        run: takes what the step takes, and then what it would draw.
        noises: what that is, in the order of drawing.
    """

    run: Step
    noises: tuple[Noise, ...]


@torch.no_grad()
def replay_of(step: Step, tensors: Sequence[Tensor]) -> Replay | None:
    """The replay of a step for tensors like these, or None where it would not be the same.

    Args:
        step: with a row a run; it must draw a run's random numbers apart from the others'.
        tensors: what it takes; they are left as they are.
    """
    tensors = [each.clone() for each in tensors]
    try:
        graph = make_fx(step, decomposition_table=PARTS)(*tensors).graph
    except Exception:  # a model may do anything with its inputs; what cannot be traced can still be stepped
        return None
    if any(_depends_on_data(node) for node in graph.nodes):
        return None
    noises = _without_draws(graph, runs=len(tensors[0]))
    if noises is None:
        return None
    owner = graph.owning_module
    assert owner is not None  # noqa: S101 - make_fx returns a module of its graph, told to the type checker
    _shorten(graph)
    graph.eliminate_dead_code()
    graph.set_codegen(fx.graph.CodeGen())
    graph.lint()
    return Replay(fx.GraphModule(owner, graph).forward, noises)


def _depends_on_data(node: fx.Node) -> bool:
    """Whether the sizes of what it makes may be others with other data, or it is nothing we know."""
    if node.op != "call_function" or node.target is operator.getitem:
        return node.op in ("call_module", "call_method")
    if not isinstance(node.target, torch._ops.OpOverload):
        return True
    masks = node.target is aten.index.Tensor and any(
        each.meta["val"].dtype in (torch.bool, torch.uint8) for each in node.all_input_nodes[1:]
    )
    tags = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
    return masks or bool(tags & set(node.target.tags))


def _without_draws(graph: fx.Graph, runs: int) -> tuple[Noise, ...] | None:
    """Draws made inputs of the graph; None where there is one that is not known."""
    noises = []
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "call_function" or torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
            continue
        value = node.meta["val"]
        if node.target not in FILLS or value.shape[:1] != (runs,) or not value.is_contiguous():
            return None
        arguments = tuple(node.args[1:]) if node.target is aten.bernoulli.p else ()
        noises.append(Noise(tuple(value.shape[1:]), value.dtype, value.device, FILLS[node.target], arguments))
        with graph.inserting_after(last):
            last = graph.placeholder(f"noise_{len(noises)}")
        last.meta = dict(node.meta)
        node.replace_all_uses_with(last)
        graph.erase_node(node)
    return tuple(noises)


def _shorten(graph: fx.Graph) -> None:
    """Leave out what does nothing, and take the shorter way where there are two."""
    written = _written(graph)
    for node in list(graph.nodes):
        if node.op == "call_function" and node not in written and _does_nothing(node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        if node.op == "call_function" and node not in written and node.target is aten.transpose.int:
            _turn(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_function" and node not in written and node.target is aten.bmm.default:
            _widen(graph, node)
    for node in graph.nodes:
        if node.op == "call_function":
            node.target = PLAIN.get(node.target, node.target)


def _written(graph: fx.Graph) -> set[fx.Node]:
    """What is written into, and what that may be a view of: it stays as it was traced."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        while schema is not None and schema.is_mutable and isinstance(node, fx.Node):
            found.add(node)
            node = node.args[0] if node.args else None
    return found


def _does_nothing(node: fx.Node) -> bool:
    given: Any = node.args
    if node.target in (aten.detach.default, aten.alias.default):
        return True
    if node.target is aten.mul.Scalar:
        return bool(given[1] == 1 and given[0].meta["val"].dtype == node.meta["val"].dtype)
    if node.target is aten.permute.default:
        return list(given[1]) == list(range(len(given[1])))
    if node.target in (aten.view.default, aten._unsafe_view.default, aten.expand.default):
        return bool(given[0].meta["val"].shape == node.meta["val"].shape)
    return False


def _turn(graph: fx.Graph, node: fx.Node) -> None:
    """The transpose of a product is the product of the transposes, the other way round: it need not be copied."""
    product: Any = node.args[0]
    if node.args[1:] != (1, 2) or product.target is not aten.bmm.default or len(product.users) > 1:
        return
    with graph.inserting_before(node):
        first, second = (_transposed(graph, each) for each in reversed(product.args))
        node.replace_all_uses_with(made := graph.call_function(aten.bmm.default, (first, second)))
    made.meta = dict(node.meta)
    graph.erase_node(node)
    graph.erase_node(product)


def _widen(graph: fx.Graph, node: fx.Node) -> None:
    """A product with few columns and more rows is taken of the transposes."""
    factors: Any = node.args
    rows, columns = node.meta["val"].shape[1:]
    if node.meta["val"].device.type != "cpu" or not columns < min(NARROW, rows):
        return
    with graph.inserting_before(node):
        first, second = (_transposed(graph, each) for each in reversed(factors))
        product = graph.call_function(aten.bmm.default, (first, second))
        turned = graph.call_function(aten.transpose.int, (product, 1, 2))
    turned.meta = dict(node.meta)
    node.replace_all_uses_with(turned)
    graph.erase_node(node)


def _transposed(graph: fx.Graph, node: fx.Node) -> fx.Node:
    if node.target is aten.transpose.int and node.args[1:] == (1, 2):
        return node.all_input_nodes[0]
    return graph.call_function(aten.transpose.int, (node, 1, 2))
