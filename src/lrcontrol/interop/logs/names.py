"""Which columns of a log hold what, by the names that people give them."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lrcontrol import checks
from lrcontrol.errors import BadInput

__all__ = ["Chosen", "Wanted", "choose", "is_norm", "known", "words"]

# In this order: a count of updates is preferred to a count of calls, which `_step` and `Step` of W&B are.
STEPS = (
    "step", "trainer/global_step", "train/global_step", "global_step", "num_updates", "update", "updates", "iter",
    "iteration", "iterations", "train_step", "train/step", "train/iter", "train/iteration", "steps", "_step", "Step",
)  # fmt: skip
RUNS = ("run", "run_id", "run_name", "Run")

ALONE = {"gnorm", "gradnorm"}
GRADIENT, NORM = {"grad", "grads", "gradient", "gradients"}, {"norm", "norms"}
WHOLE = {"total", "global", "all", "overall", "whole", "full"}
BEFORE = {"before", "pre", "preclip", "preclipping", "unclipped", "raw", "unscaled"}
ORDERS = {"l1": "l1", "1": "l1", "1.0": "l1", "l2": "l2", "2": "l2", "2.0": "l2"}
PLACES = {"train", "training", "trainer", "metrics", "metric", "optim", "optimizer", "stats", "scalars", "debug"}
FILLERS = PLACES | {"step", "model", "params", "parameters", "value", "log"}
CLIPPED = {"clip", "clipping"}  # before clipping; anything else about clipping is a norm after it
RATE_FILLERS = FILLERS | {
    "group",
    "groups",
    "group0",
    "pg",
    "pg1",
    "adam",
    "w",
    "adamw",
    "sgd",
    "0",
    "1",
    "lion",
    "muon",
}
LOSS_FILLERS = FILLERS | {"lm", "batch", "running", "mean"}


class Wanted(NamedTuple):
    """What the user asked for, where names do not tell: columns of norms and steps, and the order of the norm."""

    column: str | None = None
    step_column: str | None = None
    order: Literal["l1", "l2"] | None = None


class Chosen(NamedTuple):
    """The columns of a log by what they hold, `step`, `l1`, `l2`, `loss`, `lr` and `run`, and what is to be told."""

    columns: dict[str, str]
    notes: tuple[str, ...]


def words(name: str) -> list[str]:
    """The words of a name, in small letters; a number with a point is one.

    Example:
        >>> words("train/grad_2.0_norm_total")
        ['train', 'grad', '2.0', 'norm', 'total']
    """
    return re.findall(r"\d+\.\d+|\d+|[a-z]+\d?(?![a-z])|[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())


def is_norm(name: str) -> bool:
    """Whether a name is that of the norm of a whole gradient.

    Example:
        >>> [is_norm(name) for name in ("train/grad_norm", "grad_2.0_norm/layer1.weight", "weight_norm")]
        [True, False, False]
    """
    return _norm(name) is not None


def known(name: str) -> bool:
    """Whether a name is that of anything a log is read for."""
    return name in STEPS or _norm(name) is not None or _loss(name) is not None or _rate(name) is not None


def choose(names: Sequence[str], wanted: Wanted, where: str) -> Chosen:
    """Columns by what they hold.

    Of several norms of one order one of the whole gradient by its name ("total", "global", "all") or before clipping
    is preferred, then one without a word that is not known in front ("actor/grad_norm"), then the fewest words.

    Args:
        names: all columns of a log.
        wanted: what the user asked for.
        where: the log, for errors.
    Raises:
        BadInput: a column that was asked for is not there; norms are there that nothing prefers one of.
    """
    notes: list[str] = []
    step = _asked("step_column", wanted.step_column, names, where) or next(
        filter(set(names).__contains__, STEPS), None
    )
    run = next((name for name in RUNS if name in names), None)
    columns = {role: name for role, name in (("step", step), ("run", run)) if name is not None}
    asked = _asked("column", wanted.column, names, where)
    ranked: dict[str, list[tuple[tuple[int, int], str]]] = {"l1": [], "l2": []}
    for name in [asked] if asked else names:
        found = _norm(name)
        if asked or found:
            order, rank = found or ("", (0, 0))
            ranked[wanted.order or order or "l2"].append((rank, name))
            if not wanted.order and not order:
                notes.append(f"{where} does not say which norm {checks.shown(name)} is: taken for the L2 norm.")
    for norm, candidates in ranked.items():
        best = min(candidates, default=None, key=lambda each: each[0])
        if best is None:
            continue
        equal = [name for rank, name in candidates if rank == best[0]]
        if len(equal) > 1:
            listed = ", ".join(map(repr, equal[:8])) + (f" and {len(equal) - 8} more" if len(equal) > 8 else "")
            raise BadInput(f"{where} has more than one gradient norm; choose one of them with column=: {listed}.")
        columns[norm] = best[1]
    chosen = set(columns.values())
    notes = [note for note in notes if any(repr(name)[:50] in note for name in chosen)]
    for role, rank_of in (("loss", _loss), ("lr", _rate)):
        fits = [(fit, at, name) for at, name in enumerate(names) if (fit := rank_of(name)) is not None]
        if fits:
            columns[role] = min(fits)[2]
    return Chosen(columns, tuple(notes))


def _asked(argument: str, name: str | None, names: Sequence[str], where: str) -> str | None:
    """A column that was asked for, which must be there."""
    if name is not None and name not in names:
        known = [each for each in names if each]
        raise BadInput(f"`{argument}`: {where} has no column of this name: " + checks.near_miss("column", name, known))
    return name


def _norm(name: str) -> tuple[str, tuple[int, int]] | None:
    """The order of a gradient norm ("" if the name does not say) and its rank, lowest first; None if it is none."""
    if name in ("l1", "l2"):
        return name, (0, 0)
    if "norm" not in name.lower() and "grad" not in name.lower():
        return None
    parts = words(name)
    orders = [  # a bare number is an order only in front of "norm"; elsewhere it counts layers or groups
        at
        for at, part in enumerate(parts)
        if part in ORDERS and (part[0] == "l" or parts[at + 1 : at + 2] == ["norm"])
    ]
    told = {ORDERS[parts[at]] for at in orders}
    rest = [part for at, part in enumerate(parts) if at not in orders]
    gradient = bool(GRADIENT & set(rest)) and bool(told or NORM & set(rest))
    if not (gradient or ALONE & set(rest) or rest == ["total", "norm"]) or len(told) > 1:
        return None
    others = [part for part in rest if part not in GRADIENT | NORM | ALONE]
    before = bool(BEFORE & set(others))
    strange = [part for part in others if part not in WHOLE | BEFORE | FILLERS and not (before and part in CLIPPED)]
    if strange and not _is_prefix(name, strange):
        return None
    whole = bool(WHOLE & set(others)) or before
    return next(iter(told), ""), (2 if strange else 0 if whole else 1, len(parts))


def _is_prefix(name: str, strange: Sequence[str]) -> bool:
    """Whether the words that are not known stand in front of the last slash, and the rest is a norm by itself."""
    front, slash, last = name.rpartition("/")
    held_out = {"val", "valid", "validation", "eval", "test"} & set(strange)
    return bool(slash) and not held_out and set(strange) <= set(words(front)) and _norm(last) is not None


def _loss(name: str) -> int | None:
    """The rank of a training loss; None if it is none."""
    if name == "loss":
        return 0
    if "loss" not in name.lower():
        return None
    parts = words(name)
    return len(parts) if "loss" in parts and set(parts) - {"loss"} <= LOSS_FILLERS else None


def _rate(name: str) -> int | None:
    """The rank of a learning rate; None if it is none."""
    if name == "lr":
        return 0
    if "lr" not in name.lower() and "rate" not in name.lower():
        return None
    parts = words(name)
    rate = {"learning", "rate"} if {"learning", "rate"} <= set(parts) else {"lr", "lr0"} & set(parts)
    return len(parts) if rate and set(parts) - rate <= RATE_FILLERS else None
