"""Range tests of a Lightning module and a Trainer of Transformers, ended by errors and interrupts."""

import contextlib
import os
import random
import signal
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

import test_interop_range as theirs
from faults.range_faults import KINDS, changed

__all__ = ["end_in_clients", "left_by_lightning"]


def end_in_clients(folder: Path, count: int, seed: int) -> tuple[int, int, int]:
    """How many tests there were, in how many something changed or nothing ended them, and files that were written.

    Args:
        folder: empty; where the clients may write.
        count: of tests of each client.
        seed: of what ends them, and when.
    """
    import lightning
    import transformers

    from lrcontrol.interop import lightning_range_test, transformers_range_test

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(seed)
    tried = bad = 0
    for number in range(count):
        if number % 20 == 0:
            of_lightning, of_transformers = theirs.TestLightning(), theirs.TestTransformers()
            module = of_lightning.module(lightning, chance.choice(("optimizer", "ours", "lists", "dict")))
            data = DataLoader(theirs.Rows(), batch_size=8, shuffle=True)
            trainer = of_lightning.trainer(lightning, folder)
            other = of_transformers.trainer(transformers, folder)
            if chance.random() < 0.5:
                other.train()
            held = (other.model, other, other.accelerator, other.accelerator.gradient_state)
        of_module = partial(lightning_range_test, module, data, trainer)
        bad += _ended(chance, module, of_module, (module, trainer, data.dataset))
        bad += _ended(chance, other.model, partial(transformers_range_test, other), held)
        tried += 2
    return tried, bad, len([each for each in folder.rglob("*") if each.is_file()])


def _ended(chance: random.Random, model: Any, test: Callable[[], object], held: tuple[Any, ...]) -> bool:
    kind = chance.choice((*KINDS, KeyboardInterrupt))
    left = [chance.randrange(25)]

    def fails(*_: Any) -> None:
        left[0] -= 1
        if left[0] == -1:
            if kind is KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise kind

    hook = next(iter(model.children())).register_forward_hook(fails)
    before = theirs.looked_at(*held)
    ended = True
    with contextlib.suppress(kind):
        test()
        ended = left[0] >= 0  # its loss may have ended it before
    found = changed(before, theirs.looked_at(*held))
    hook.remove()
    return bool(found) or not ended


def left_by_lightning(folder: Path) -> list[str]:
    """What Lightning's own finder leaves changed of a module, a trainer and random numbers."""
    import lightning
    from lightning.pytorch.tuner import Tuner

    warnings.simplefilter("ignore")
    case = theirs.TestLightning()
    module, trainer = case.module(lightning), case.trainer(lightning, folder)
    module.lr = 0.1
    data = DataLoader(theirs.Rows(), batch_size=8, shuffle=True)
    before = theirs.looked_at(module, data.dataset)
    Tuner(trainer).lr_find(module, train_dataloaders=data, num_training=20, update_attr=False)
    return changed(before, theirs.looked_at(module, data.dataset))
