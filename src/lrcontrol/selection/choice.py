"""What a finished race says: which full run to take, and why."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from lrcontrol.analysis.compare import Stage, accuracy_error, best_record, stage_name
from lrcontrol.errors import RecordError
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.endings import ended_with, ending_of
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.task import Task
from lrcontrol.selection.left_over import left_over
from lrcontrol.selection.race import Race
from lrcontrol.selection.stages import stages_of
from lrcontrol.selection.telling import best_of, closed_rungs, edge_of, still_growing

__all__ = ["Choice", "choose"]

BEST_OF_SEVERAL = "the best of several on one split, with one seed each, is likely to be a little less good elsewhere"


class Choice(msgspec.Struct, frozen=True):
    """The outcome of a selection.

    Args:
        record: the full run that was best on validation.
        default: the plain default's full run.
        stages: all runs, by the length at which they were compared; the last holds the full runs.
        reasons: sentences that explain the choice, each from the records alone.
        spent: updates made in all.
        caution: what must be known before the choice is read; nothing where it was compared as planned.
    """

    record: Record
    default: Record
    stages: tuple[Stage, ...]
    reasons: tuple[str, ...]
    spent: int
    caution: str = ""


def choose(race: Race, records: Sequence[Record], task: Task, budget: Budget) -> Choice:
    """The choice that the records of a race give: the best full run on validation.

    The race must be finished, unless its budget is a time, which may be up before.

    Raises:
        RecordError: the race is not finished, or no full run ended with weights that work.
    """
    default = next((record for record in records if record.id == race.default.id), None)
    unfinished = bool(race.propose(records, [], 1, budget))
    if default is None and unfinished and budget.seconds is not None:
        raise RecordError(f"the plain default of {task.name} must end in the time there is, got {budget.told()}.")
    if default is None or (unfinished and budget.seconds is None):
        raise RecordError(f"the race on {task.name} must be finished before its choice, but runs of it are missing.")
    stages = _stages(race, records)
    finalists = stages[-1].records
    best = best_record(finalists)
    if best is None:
        endings = "; ".join(f"{record.spec.method.label}: {ending_of(record)}" for record in finalists[:3])
        raise RecordError(f"no full run of {task.name} ended with weights that work ({endings}).")
    spent = budget.spent(record for stage in stages for record in stage.records)
    untuned = {spec.id for spec in race.untuned}
    reasons = _reasons(best, default, stages, task, budget, spent, [each for each in finalists if each.id in untuned])
    if race.halving is not None:
        reasons[-1:-1] = closed_rungs(race.halving, records)
    reasons[-1:-1] = left_over(race, race.answered(records), budget)
    if unfinished:
        reasons.insert(
            -1, "The time was up before all runs that were planned had ended; a longer one goes on from here."
        )
    return Choice(best, default, stages, tuple(reasons), spent, _caution(stages, default, unfinished))


def _caution(stages: Sequence[Stage], default: Record, unfinished: bool) -> str:
    """That the choice stands on no comparison in full, and what the race points to instead."""
    others = [record for record in stages[-1].records if record.id != default.id]
    if any(record.usable for record in others):
        return ""
    raced = best_of(stages[:-1])
    if raced is None or raced.final is None:
        if len(stages) > 1:
            return ""
        why = "no other run ended with weights that work" if others else "the budget paid for the plain default alone"
        return f"Nothing was compared: {why}."
    if not unfinished:
        return ""
    steps = raced.spec.stop_step
    count = sum(len(stage.records) for stage in stages if stage.total_steps == steps)
    return (
        "No comparison in full was possible in the time there was: only the plain default, "
        f"{default.spec.method.label} at {default.spec.base_lr:g}, ended in full. The race points to "
        f"{raced.spec.method.label} at {raced.spec.base_lr:g}, the best of {_runs(count)} over {steps} of "
        f"{default.spec.stop_step} steps: {raced.objective.told} {raced.final:.4g} there."
    )


def _stages(race: Race, records: Sequence[Record]) -> tuple[Stage, ...]:
    full = race.default.total_steps
    places = {spec.id: place for place, spec in enumerate(race.insured)}
    found = (record for record in records if record.id in places)
    insured = tuple(sorted(found, key=lambda record: places[record.id]))
    if race.halving is None:
        return (Stage(stage_name(full, full), full, insured),)
    raced = stages_of(race.halving, records, full)
    last = raced[-1]
    if last.total_steps != full:  # nobody survived the race
        return (*raced, Stage(stage_name(full, full), full, insured))
    return (*raced[:-1], msgspec.structs.replace(last, records=(*insured, *last.records)))


def _reasons(
    best: Record,
    default: Record,
    stages: Sequence[Stage],
    task: Task,
    budget: Budget,
    spent: int,
    untuned: Sequence[Record],
) -> list[str]:
    metric = task.objective.told
    finalists = stages[-1].records
    reasons = []
    if len(stages) > 1:
        field = " then ".join(f"{len(stage.records)} over {stage.total_steps} steps" for stage in stages[:-1])
        reasons.append(f"Raced {field}, the whole schedule laid over each length; {_runs(len(finalists))} in full.")
    reasons += _untuned(untuned)
    reasons += _one_method([default, *untuned], stages)
    others = [record for record in finalists if record.usable and record.id != best.id]
    runner_up = best_record(others)
    sentence = f"{best.spec.method.label} at {best.spec.base_lr:g} was best in full: {metric} {best.final:.4g}"
    if runner_up is not None:
        close = f"next {runner_up.spec.method.label} at {runner_up.spec.base_lr:g} with {runner_up.final:.4g}"
        if runner_up.rank_key == best.rank_key:
            close += "; a tie, also in validation loss: the first that was asked for was taken"
        elif runner_up.final == best.final:
            close += "; the tie was decided by validation loss"
        sentence += f" ({close})"
    reasons += [sentence + ".", *ended_with(best)]
    plain = f"the plain default, {default.spec.method.label} at {default.spec.base_lr:g}"
    if default.id == best.id:
        reasons.append(f"That is the plain default: {_beside(others, finalists)}.")
    elif default.final is not None:
        reasons.append(f"In full, {plain}, reached {default.final:.4g}.")
    else:
        reasons.append(f"In full, {plain}, {default.outcome.value}.")
    reasons += _noise(best, finalists, task)
    reasons += _own_default(default, stages, task)
    if task.is_script:
        reasons.append("All figures are of what the script logs on validation: no test split of it is known here.")
    if best not in untuned:
        reasons += edge_of(best, stages)
    reasons += still_growing(stages)
    reasons += _agreement(stages)
    lost = [record for stage in stages for record in stage.records if not record.usable]
    if lost:
        diverged = sum(record.outcome is Outcome.DIVERGED for record in lost)
        reasons.append(f"{_runs(diverged)} diverged and {len(lost) - diverged} failed; their updates are counted.")
    reasons.append(f"Spent {budget.told(spent)}, everything included.")
    return reasons


def _untuned(records: Sequence[Record]) -> list[str]:
    """That these methods were not raced, and why; and what became of those that failed."""
    made, failed = [], []
    for record in records:
        named = f"{record.spec.method.label} at {record.spec.base_lr:g}"
        if record.outcome is Outcome.FAILED:
            failed.append(f"{named} cannot train this task: {ending_of(record)}.")
        else:
            made.append(named)
    if not made:
        return failed
    were = "were" if len(made) > 1 else "was"
    return [f"{' and '.join(made)} {were} run in full as the plain default was, and not searched for a rate.", *failed]


def _one_method(insured: Sequence[Record], stages: Sequence[Stage]) -> list[str]:
    """That all which came to full runs by the race are one method, where it was raced with others."""
    raced = {record.spec.method for stage in stages[:-1] for record in stage.records}
    made = [record for record in stages[-1].records if record.id not in {each.id for each in insured}]
    methods = {record.spec.method for record in made}
    if len(raced) < 2 or len(made) < 2 or len(methods) > 1:
        return []
    return [
        f"Of the {len(raced)} methods that were raced {made[0].spec.method.label} alone went on to full runs, at "
        f"{len(made)} rates; the others were compared over shorter runs only."
    ]


def _own_default(default: Record, stages: Sequence[Stage], task: Task) -> list[str]:
    """That a task here has a default of its own, where that was not among what was compared."""
    if task.is_script or task.method == str(default.spec.method):
        return []
    own = parse_method(task.method, steps_per_epoch=task.steps_per_epoch)
    if any(record.spec.method == own for stage in stages for record in stage.records):
        return []
    return [
        f"The task's own default, {own} at {task.base_lr:g}, was not compared; `lrcontrol train {task.name}` runs it."
    ]


def _beside(others: Sequence[Record], finalists: Sequence[Record]) -> str:
    """What the default was compared with in full."""
    if len(others) == 1:
        return "the other full run was no better"
    if others:
        return f"none of the {len(others)} other full runs was better"
    if len(finalists) == 2:
        return "the other full run did not end with weights that work"
    if len(finalists) > 1:
        return f"none of the {len(finalists) - 1} other full runs ended with weights that work"
    return "no other run was made in full"


def _noise(best: Record, finalists: Sequence[Record], task: Task) -> list[str]:
    """How coarse an accuracy on the validation split is, and how many other full runs are that close.

    Of other metrics, and of what a script measures on data of its own, that is not known.
    """
    if best.final is None or len(finalists) < 2:
        return []
    if task.objective.metric != "accuracy" or task.is_script:
        compared = sum(record.usable for record in finalists)
        if compared < 2:
            return []
        return [
            f"How much of a difference in {task.objective.told} is chance is not known here; {compared} full runs "
            f"were compared, and {BEST_OF_SEVERAL}."
        ]
    count = task.sizes[1]
    error = accuracy_error(best.final, count)
    close = sum(
        record.id != best.id and record.final is not None and best.final - record.final <= error
        for record in finalists
    )
    others = len(finalists) - 1
    if others == 1:
        told = f"the other full run is {'' if close else 'not '}that close"
    elif close in (0, 1):
        told = f"{('none', '1')[close]} of the {others} other full runs is that close"
    else:
        told = f"{close} of the {others} other full runs are that close"
    return [
        f"An accuracy on {count} validation examples has a standard error of {100 * error:.2f} points here, and "
        f"{told}; {BEST_OF_SEVERAL}."
    ]


def _agreement(stages: Sequence[Stage]) -> list[str]:
    """How far the short race foretold the long one: rank correlation between neighbouring lengths."""
    sentences = []
    for short, long in pairwise(stages):
        later = {(str(record.spec.method), record.spec.base_lr): record for record in long.records}
        pairs = [
            (record.rank_key, later[key].rank_key)
            for record in short.records
            if (key := (str(record.spec.method), record.spec.base_lr)) in later and record.id in short.kept
        ]
        if len(pairs) < 10:  # a correlation of a few says nothing
            continue
        before, after = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
        if len(set(before)) == 1 or len(set(after)) == 1:  # all tied: there is no rank to agree on
            continue
        from scipy import stats  # a second to import, and seldom needed

        correlation = float(stats.spearmanr(before, after).statistic)
        sentences.append(
            f"Rank agreement between {short.total_steps} and {long.total_steps} steps among the {len(pairs)} "
            f"that went on: {correlation:+.2f} (Spearman; lower than among all, since the worst are gone)."
        )
    return sentences


def _ranks(keys: Sequence[tuple[float, float]]) -> list[int]:
    order = sorted(set(keys))
    return [order.index(key) for key in keys]


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
