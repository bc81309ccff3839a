"""Norms of all gradients together: what float64 throughout gives, of whatever kind the tensors are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lrcontrol.errors import UnknownName
from lrcontrol.training import norms as under_test
from lrcontrol.training.norms import CHUNK, ROW, SMALL, gradients, norms
from observe_kit import Reads

TOLERANCE = 1e-6


def twin(tensors: list[Tensor]) -> list[float]:
    """Both norms in float64, scaled so that no square leaves it."""
    whole = [each.to(torch.complex128 if each.is_complex() else torch.float64).abs().flatten() for each in tensors]
    large = max((float(each.max()) for each in whole if each.numel()), default=0.0)
    if not 0 < large < math.inf:
        return [large, large]
    return [
        math.fsum(float(each.sum()) for each in whole),
        large * math.sqrt(math.fsum(float((each / large).square().sum()) for each in whole)),
    ]


def off(found: Tensor, wanted: list[float]) -> float:
    """The larger relative error of the two norms."""
    return max(abs(float(ours) / theirs - 1) for ours, theirs in zip(found, wanted, strict=True))


CONTENTS: dict[str, Callable[[int], Tensor]] = {
    "normal": torch.randn,
    "all equal": lambda count: torch.full((count,), 0.1),
    "all a third": lambda count: torch.full((count,), 1 / 3),
    "one giant first": lambda count: torch.full((count,), 0.1).index_fill_(0, torch.tensor([0]), 1e4),
    "one giant in the middle": lambda count: torch.full((count,), 0.1).index_fill_(0, torch.tensor([count // 2]), 3e4),
    "huge range": lambda count: torch.randn(count) * torch.exp(8 * torch.randn(count)),
    "mostly zero": lambda count: torch.randn(count) * (torch.rand(count) < 0.001),
    "growing": lambda count: torch.arange(1.0, count + 1) / count,
    "near 1e30": lambda count: 1e30 * torch.randn(count),
    "near 1e-30": lambda count: 1e-30 * torch.randn(count),
    "near the largest": lambda count: torch.full((count,), 3e38),
    "below the smallest normal": lambda count: torch.full((count,), 1e-40),
}
KINDS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("content", CONTENTS)
def test_every_content_of_every_type_is_as_in_float64(content: str) -> None:
    """At sizes on both sides of every threshold; a number that its type makes infinite is told."""
    torch.manual_seed(0)
    worst = 0.0
    for count in (1, 7, ROW, SMALL - 1, SMALL, SMALL + ROW + 1, CHUNK + 3):
        for kind in KINDS:
            tensor = CONTENTS[content](count).to(kind)
            wanted = twin([tensor])
            if not math.isfinite(wanted[0]):
                assert norms([tensor]).tolist() == [math.inf, math.inf]
            elif wanted[0] > 0:
                worst = max(worst, off(norms([tensor]), wanted))
            else:
                assert norms([tensor]).tolist() == [0, 0]
    print(f"RELIABILITY norms_{content.replace(' ', '_')}_worst={worst:.1e}")
    assert worst < TOLERANCE


@pytest.mark.parametrize("content", ["normal", "all equal", "one giant first"])
def test_fifty_million_numbers_in_one_tensor(content: str) -> None:
    """Where torch's own norm of float32 is off by percents."""
    torch.manual_seed(1)
    tensor = CONTENTS[content](50_000_000)
    wanted = [0.0, 0.0]
    for chunk in tensor.split(1 << 20):
        wide = chunk.double()
        wanted[0] += float(wide.abs().sum())
        wanted[1] += float(wide.dot(wide))
    wanted[1] = math.sqrt(wanted[1])
    ours = off(norms([tensor]), wanted)
    torchs = off(torch.stack([torch.linalg.vector_norm(tensor, order) for order in (1, 2)]), wanted)
    print(f"RELIABILITY norms_50M_{content.replace(' ', '_')}={ours:.1e} torch_float32={torchs:.1e}")
    assert ours < TOLERANCE
    assert torchs > 100 * TOLERANCE, "the reason for all this is gone"


sizes = st.lists(st.integers(0, 3 * SMALL), min_size=0, max_size=6)


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=st.integers(0, 2**31), kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6))
def test_several_tensors_are_one_long_vector(sizes: list[int], seed: int, kinds: list[torch.dtype]) -> None:
    """Of whatever sizes and types; in any order; one norm alone is as both together."""
    torch.manual_seed(seed)
    tensors = [torch.randn(size).to(kind) for size, kind in zip(sizes, kinds, strict=False)]
    found = norms(tensors)
    assert found.dtype == torch.float64
    if any(sizes):
        assert off(found, twin(tensors)) < TOLERANCE
        assert off(norms(tensors[::-1]), found.tolist()) < TOLERANCE
    else:
        assert found.tolist() == [0, 0]
    for place, order in enumerate(("l1", "l2")):
        assert norms(tensors, (order,)).tolist() == found[place : place + 1].tolist()
    assert norms(tensors, ("l2", "l1")).tolist() == found.tolist()[::-1]


@pytest.mark.parametrize("count", [5, SMALL + 11, 3 * CHUNK])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_hidden(count: int, kind: torch.dtype, bad: float) -> None:
    tensor = torch.ones(count, dtype=kind)
    for place in (0, count // 2, count - 1):
        spoilt = tensor.clone()
        spoilt[place] = bad
        for value in norms([tensor, spoilt, tensor]).tolist():
            assert math.isnan(value) if math.isnan(bad) else value == math.inf


def complex_numbers(count: int) -> Tensor:
    return torch.complex(torch.randn(count), torch.randn(count))


LAYOUTS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "transposed": lambda: ((it := torch.randn(300, 200)).t(), it),
    "every other": lambda: ((it := torch.randn(40_000))[::2], it[::2].clone()),
    "channels last": lambda: ((it := torch.randn(8, 16, 32, 32)).to(memory_format=torch.channels_last), it),
    "expanded": lambda: ((it := torch.randn(200, 1)).expand(200, 100), it.repeat(1, 100)),
    "no dimension": lambda: (torch.tensor(-3.0), torch.tensor([-3.0])),
    "sparse": lambda: ((it := torch.randn(300, 40) * (torch.rand(300, 40) < 0.1)).to_sparse(), it),
    "sparse rows": lambda: ((it := torch.randn(300, 40) * (torch.rand(300, 40) < 0.1)).to_sparse_csr(), it),
    "sparse, not coalesced": lambda: (
        torch.sparse_coo_tensor(
            torch.tensor([[1, 1, 5]]), torch.tensor([3.0, -5.0, 4.0]), (9,), check_invariants=True
        ),
        torch.tensor([-2.0, 4.0]),
    ),
    "complex": lambda: ((it := complex_numbers(20_000)), it),
    "complex, conjugated": lambda: ((it := complex_numbers(20_000)).conj(), it),
    "complex, near 1e30": lambda: ((it := 1e30 * complex_numbers(100)), it),
    "complex double": lambda: ((it := complex_numbers(100).to(torch.complex128)), it),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_as_its_numbers(layout: str) -> None:
    torch.manual_seed(2)
    tensor, plain = LAYOUTS[layout]()
    beside = torch.randn(100)
    assert off(norms([tensor, beside]), twin([plain, beside])) < TOLERANCE


def test_gradients_are_those_there_are_each_once() -> None:
    shared, lonely, idle = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.SGD([{"params": [shared, idle]}, {"params": [lonely]}], lr=0.1)
    optimizer.param_groups[1]["params"].append(shared)  # torch forbids it, and some do it
    shared.grad, lonely.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert norms(gradients(optimizer)).tolist() == [7, 5]
    optimizer.zero_grad()
    assert norms(gradients(optimizer)).tolist() == [0, 0]


def test_gradients_are_left_as_they_are_and_the_norms_are_written_where_they_should_be() -> None:
    tensors = [torch.randn(SMALL + 1), torch.randn(3)]
    before = [each.clone() for each in tensors]
    out = torch.full((4,), 9.0, dtype=torch.float64)
    found = norms(tensors, out=out[1:3])
    assert all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True))
    assert (out[0], out[3], found.data_ptr()) == (9, 9, out[1:3].data_ptr())
    assert off(out[1:3], twin(tensors)) < TOLERANCE


@pytest.mark.parametrize("name", ["l3", "L2", "", 2, None])
def test_an_unknown_norm_is_refused(name: Any) -> None:
    with pytest.raises(UnknownName, match=r"unknown norm .* known: l1, l2"):
        norms([torch.ones(1)], ("l2", name))


# Devices: nothing is read back


@pytest.mark.parametrize("near", [True, False], ids=["on a processor", "as elsewhere"])
def test_no_number_is_read_back(near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the way that other devices go gives the same; a tensor costs no call of its own there."""
    torch.manual_seed(3)
    tensors = [torch.randn(size) for size in (3, SMALL, CHUNK + 1)] * 4
    monkeypatch.setattr(under_test, "_near", lambda device: near)
    with Reads() as seen:
        found = norms(tensors)
    assert seen.reads == []
    assert off(found, twin(tensors)) < TOLERANCE
    with Reads() as control:
        float(found[0])
    assert control.reads == ["_local_scalar_dense"], "a read is seen"
    if not near:
        print(f"RELIABILITY norms_calls_of_a_device={seen.calls}")
        assert seen.calls <= 10


def test_a_device_without_numbers_can_be_asked() -> None:
    """On a device that is only pretended, to read a number is an error: none is, nor is one moved to the processor."""
    with FakeTensorMode():
        tensors = [torch.empty(300, 300, device="cuda"), torch.empty(5, device="cuda", dtype=torch.bfloat16)]
        found = norms([*tensors, torch.empty(SMALL + 1), torch.empty(3, device="cuda", dtype=torch.complex64)])
        assert (found.device.type, found.dtype, found.shape) == ("cuda", torch.float64, (2,))
        with pytest.raises(RuntimeError):
            float(found.select(0, 0))


@pytest.mark.parametrize("content", CONTENTS)
def test_the_way_of_other_devices_is_as_accurate(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_near", lambda device: False)
    torch.manual_seed(0)
    tensors = [CONTENTS[content](count) for count in (1, 7, SMALL, CHUNK + 3)]
    wanted = twin(tensors)
    assert off(norms(tensors), wanted) < TOLERANCE
