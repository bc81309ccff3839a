"""The range test of a Lightning module: its training step, its optimizer and its data, without a trainer's loop."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.ranging import RangeTest, range_test

__all__ = ["lightning_range_test"]

HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def lightning_range_test(module: Any, data: Any, trainer: Any = None, **options: Any) -> RangeTest:
    """The range test of a Lightning module, which is left as it was, to the bit, and so is the trainer.

    No loop of a trainer is run and no callback called, nothing is logged and no file written. What is tested is
    `training_step` under the optimizer of `configure_optimizers`, as it is made for the test; hooks that move and
    change batches are called, those of steps and epochs are not. `batch_idx` counts the batches of a test from 0,
    over passes. `self.trainer` is the one that is given, but that it says it trains, and its loggers log nothing; of
    epochs and steps it tells what it does before a loop.

    Args:
        module: with automatic optimization and one optimizer, on one device.
        data: a LightningDataModule, or anything that gives batches anew whenever it is iterated over.
        trainer: the one that will train it, of which accumulation, clipping by norm and mixed precision are taken.
        options: of `range_test`, by name.
    Returns:
        As `range_test`.
    Raises:
        BadInput: a bad value, or a module that is optimized by hand or by several optimizers.
    Example:
        >>> import lightning
        >>> class Line(lightning.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(3, 1)
        ...     def training_step(self, batch):
        ...         return (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> data = torch.randn(10, 16, 3, generator=torch.Generator().manual_seed(0))
        >>> found = lightning_range_test(Line(), list(data), low=1e-4)
        >>> 0.01 < found.suggestion < 1
        True
    """
    import lightning

    if not isinstance(module, lightning.LightningModule):
        raise BadInput(f"`module` must be a LightningModule, got {checks.shown(module)}.")
    if not module.automatic_optimization:
        raise BadInput(
            "a module that is optimized by hand makes its updates itself; call range_test(model, optimizer, loader, "
            "step=...) with a function that does what its training_step does."
        )
    loader: Any = data
    planned = _Planned(trainer, options.get("steps") or 100)
    is_module = isinstance(data, lightning.LightningDataModule)
    if is_module:
        loader = _loader_of(data, planned)
    given = {**_of_trainer(trainer), **options, "also": [data if is_module else None, *options.get("also", ())]}
    return range_test(module, _optimizer_of(module, planned), loader, _loss_of(data if is_module else None), **given)


class _Planned:
    """Stands for the trainer for the time of a test: what it does not know itself is the trainer's."""

    def __init__(self, trainer: Any, steps: int) -> None:
        from lightning.pytorch.loggers.logger import DummyLogger

        self._trainer, self.estimated_stepping_batches, self.max_steps = trainer, steps, steps
        self.training = True
        self.loggers = [DummyLogger() for _ in getattr(trainer, "loggers", ())]
        self.logger = self.loggers[0] if self.loggers else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self._trainer is None:
            raise AttributeError(f"a range test has no trainer that could tell `{name}`; give it as `trainer`.")
        return getattr(self._trainer, name)


def _loader_of(data: Any, planned: _Planned) -> Callable[[], Iterable[Any]]:
    def made() -> Iterable[Any]:
        if planned._trainer is not None:
            data.trainer = planned
        data.prepare_data()
        data.setup("fit")
        loader: Iterable[Any] = data.train_dataloader()
        return loader

    return made


def _optimizer_of(module: Any, planned: _Planned) -> Callable[[], Optimizer]:
    """What makes the optimizer; attributes that are set on the module, such as its trainer, are put back with all."""

    def made() -> Optimizer:
        known = module._trainer
        module.trainer = planned
        found = [each for each in _flat(module.configure_optimizers()) if isinstance(each, Optimizer)]
        if planned._trainer is None:  # which knows nothing that a training step may ask for
            module.trainer = known
        if len(found) != 1:
            raise BadInput(f"configure_optimizers must return one optimizer, got {len(found)}.")
        return found[0]

    return made


def _flat(configured: Any) -> list[Any]:
    """What optimizers are among, in all the forms that Lightning knows."""
    if isinstance(configured, Mapping):
        return [configured.get("optimizer")]
    return (
        [each for part in configured for each in _flat(part)] if isinstance(configured, list | tuple) else [configured]
    )


def _loss_of(data: Any) -> Callable[[Any, Any], Any]:
    """The training step as a loss of (model, batch)."""
    place = 0  # of the batch; it is put back to 0 for every repeat, as what a function encloses is

    def loss(model: Any, batch: Any) -> Any:
        nonlocal place
        model.log = model.log_dict = _nothing  # undone with all other attributes
        for name in ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"):
            held = data if data is not None and _overrides(data, name) else model
            between = (model.device,) if name == "transfer_batch_to_device" else ()
            batch = getattr(held, name)(batch, *between, 0)
        wanted = len(inspect.signature(model.training_step).parameters)
        found = model.training_step(*(batch, place)[:wanted])
        place += 1
        if isinstance(found, Mapping) and "loss" in found:
            found = found["loss"]
        if found is None:
            raise BadInput("training_step must return a loss for every batch of a range test, got None.")
        return found

    return loss


def _overrides(data: Any, name: str) -> bool:
    import lightning

    return getattr(type(data), name) is not getattr(lightning.LightningDataModule, name)


def _nothing(*_: Any, **__: Any) -> None:
    """Nothing is logged."""


def _of_trainer(trainer: Any) -> dict[str, Any]:
    """What a trainer says of updates."""
    if trainer is None:
        return {}
    found: dict[str, Any] = {"accumulate": trainer.accumulate_grad_batches}
    if trainer.gradient_clip_val and str(trainer.gradient_clip_algorithm or "norm").endswith("norm"):
        found["clip_norm"] = float(trainer.gradient_clip_val)
    kind = HALF.get(str(trainer.precision))
    if kind is not None:
        found["autocast"] = kind
    if kind is torch.float16:
        found["scaler"] = torch.amp.GradScaler("cuda")
    return found
