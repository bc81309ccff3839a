"""The verb of citing: the papers behind a method, a strategy or an analysis, as their docstrings name them."""

import difflib
import re

from lrcontrol import checks
from lrcontrol.controls.text import read_control
from lrcontrol.errors import BadInput, UnknownName
from lrcontrol.runs.method import read_method
from lrcontrol.runs.optimizer import OPTIMIZERS, read_optimizer
from lrcontrol.runs.papers import Citation, citation
from lrcontrol.runs.parts import PARTS
from lrcontrol.schedules.other_names import ours
from lrcontrol.schedules.reader import Reader

__all__ = ["cite"]

OTHER_NAMES = {
    "hyperband": "halving",
    "lr_find": "range",
    "lr_finder": "range",
    "lr_range_test": "range",
    "range_test": "range",
    "random_search": "random",
    "select": "halving",
    "sha": "halving",
    "successive_halving": "halving",
}
"""What strategies and analyses are called elsewhere, and our word; `select` races by halving."""


def cite(given: str) -> tuple[Citation, ...]:
    """The papers behind a method, a control, a schedule, one of their names, a strategy or an analysis.

    Args:
        given: such as `adamw:warmup(0.05)+rex`, `one_cycle` or `plateau`; a strategy of search, such as `autolrs`; or
            `select`, `range`, `refine` or `advise`.
    Returns:
        One citation per optimizer, schedule and control that the text makes, in the order of the text; a parameter's
        name or value, such as the shape of a cooldown, is cited by what it is a parameter of.
    Raises:
        BadText: the text cannot be read. UnknownName: near misses are named.
    Example:
        >>> [(found.name, found.links) for found in cite("sgd:rex")][1]
        ('rex', ('https://arxiv.org/abs/2107.04197',))
        >>> [(found.kind, found.links) for found in cite("autolrs")]
        [('strategy', ('https://arxiv.org/abs/2105.10762',))]
    """
    if not isinstance(given, str):
        raise BadInput(f"what is cited must be a text such as 'adamw:rex', got {checks.shown(given)}.")
    word = given.strip()
    plain = word.lower().replace("-", "_")
    try:
        words = [word] if word in PARTS else _called(given)
    except UnknownName:
        if not plain.isidentifier():
            raise
        return (_of_search_or_analysis(plain, word),)
    parts = [PARTS[name] for name in dict.fromkeys(words) if name in PARTS]
    return tuple(citation(part.kind, part.name, part.thing) for part in parts)


def _called(given: str) -> list[str]:
    """The names of all that a text makes, and not those of parameters and their values."""
    alone = ":" not in given
    optimizer = re.split(r"\W", given.strip(), maxsplit=1)[0] in OPTIMIZERS
    reader = Reader(given, "control" if alone and not optimizer else "method", steps_per_epoch=1)
    (read_method if not alone else read_optimizer if optimizer else read_control)(reader)
    reader.finish()
    return reader.called


def _of_search_or_analysis(plain: str, word: str) -> Citation:
    """What a word that makes no part of a method names; UnknownName, with the word as it was given, where nothing."""
    from lrcontrol.ranging import range_test  # these load what takes a second, and a method needs none of it
    from lrcontrol.refining import advise, refine
    from lrcontrol.search.autolrs import AutoLRS
    from lrcontrol.search.halving import SuccessiveHalving
    from lrcontrol.search.plan import grid, random_draws
    from lrcontrol.search.refinement import Refinement

    kinds: dict[str, dict[str, object]] = {
        "strategy": {
            "autolrs": AutoLRS,
            "grid": grid,
            "halving": SuccessiveHalving,
            "random": random_draws,
            "refinement": Refinement,
        },
        "analysis": {"advise": advise, "range": range_test, "refine": refine},
    }
    name = OTHER_NAMES.get(plain, plain)
    for kind, known in kinds.items():
        if name in known:
            return citation(kind, name, known[name])
    strategies, analyses = kinds.values()
    near = difflib.get_close_matches(plain, [*strategies, *analyses, *OTHER_NAMES], n=1, cutoff=0.8)
    meant = ours(word) or next((OTHER_NAMES.get(each, each) for each in near), None)
    parts = checks.near_miss("method", word, PARTS, meant)
    raise UnknownName(
        f"{parts.removesuffix('.')}; strategies: {', '.join(strategies)}; analyses: {', '.join(analyses)}."
    )
