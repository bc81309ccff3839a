"""The range test of a Trainer of Transformers: its loss, optimizer and data, without its loop."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.errors import BadInput
from lrcontrol.ranging import RangeTest, range_test

__all__ = ["transformers_range_test"]


def transformers_range_test(trainer: Any, **options: Any) -> RangeTest:
    """The range test of a `Trainer`, which is left as it was, to the bit: it can train as if there had been none.

    Its loop is not run: no callback is called, `max_steps` and the state stay, nothing is logged or saved. What is
    tested is `compute_loss` on `get_train_dataloader()` under the optimizer of `create_optimizer`, or one that it was
    given; accumulation, clipping and mixed precision are those of its arguments.

    Args:
        trainer: of one process and one device.
        options: of `range_test`, by name.
    Returns:
        As `range_test`.
    Raises:
        BadInput: a bad value, or a trainer of several devices.
    Example:
        See docs/range_test.md.
    """
    import transformers

    if not isinstance(trainer, transformers.Trainer):
        raise BadInput(f"`trainer` must be a transformers.Trainer, got {checks.shown(trainer)}.")
    args, accelerator = trainer.args, trainer.accelerator
    if args.world_size > 1 or args.n_gpu > 1 or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise BadInput(
            f"a trainer must be of one device, got {max(args.world_size, args.n_gpu)}; call range_test(model, "
            "optimizer, loader, loss) with the model as it is wrapped for them."
        )
    inside = getattr(trainer.optimizer, "optimizer", trainer.optimizer)  # after training it is wrapped
    taken: dict[str, Any] = {
        "accumulate": args.gradient_accumulation_steps,
        "clip_norm": float(args.max_grad_norm) if args.max_grad_norm else None,
        "scaler": accelerator.scaler,
        "schedules": [trainer.lr_scheduler],
    }
    # the lists in which accelerate notes the loaders and optimizers that it has prepared
    also = [trainer, accelerator, accelerator.gradient_state, *options.get("also", ())]
    optimizer = inside if isinstance(inside, Optimizer) else trainer.create_optimizer
    return range_test(
        trainer.model, optimizer, trainer.get_train_dataloader, _loss_of(trainer), **{**taken, **options, "also": also}
    )


def _loss_of(trainer: Any) -> Callable[[Any, Any], Any]:
    def loss(model: Any, batch: Any) -> Any:
        with trainer.compute_loss_context_manager():
            return trainer.compute_loss(model, trainer._prepare_inputs(batch))

    return loss
