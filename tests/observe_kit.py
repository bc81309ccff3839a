"""What tests of observing share: a count of what makes the host wait for a device."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for a device: reading a number, or moving one to a processor."""

    READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and do it."""
        name = func.name().removeprefix("aten::").split(".")[0]
        moves = name == "_to_copy" and (kwargs or {}).get("device") is not None
        self.reads += [name] if name in self.READS or moves else []
        self.calls += 1
        return func(*args, **(kwargs or {}))
