"""What cycles are good for, on real tasks: cyclical rates, stopping by cycle ends, snapshot ensembles.

    python benchmarks/cycles.py [clr] [stopping] [ensembles] [--out FOLDER]

`clr` runs a triangular rate and looks 50 times on the way: where in a cycle is the metric best? `stopping` runs 100
of equal cycles and 50 of growing ones in full once, and replays what ordinary patience and patience in cycles would
have done with each.
`ensembles` compares snapshots with single runs and with independent ensembles, all of one cost, on the test split,
and with ensembles of full runs, which cost as many times more as there are members.
One process; resumable; figures go to cycles.json, the picture of `clr` to docs/cyclical.svg.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from lrcontrol.controls.control import Observation
from lrcontrol.controls.patience import Patience
from lrcontrol.controls.text import control
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.schedules.text import schedule
from lrcontrol.training.ensembles import chosen_greedily, judge_of
from lrcontrol.training.loop import train
from lrcontrol.training.tasks.catalogue import task as find_task
from lrcontrol.training.tasks.problem import alone, build
from lrcontrol.training.weights import load_states, load_weights

FOUND = Path(__file__).with_name("cycles.json")
PICTURE = Path(__file__).parent.parent / "docs" / "cyclical.svg"
SEEDS = range(5)
NEVER = 100_000  # a patience that lasts: the run is looked at often, and left as it is
CLR = {"mnist-mlp": ("sgd", 0.1), "cifar10-resnet8": ("sgd(weight_decay=0.0001)", 0.1)}
CLR_CYCLES = 5
STOPPING = ("digits-mlp", "digits-cnn", "sst-bag", "spambase-mlp", "magic-mlp")
EQUAL = ("snapshot(4)", "triangular(6)", "snapshot(8)", "triangular(10)")
GROWING = ("sgdr(4)", "sgdr(3, growth=3)")
WORSE = 0.005  # of accuracy: a run was stopped wrongly where a later cycle end would have won more
ENSEMBLES = {"digits-cnn": (1, 3), "sst-bag": (1, 3), "mnist-mlp": (1, 3), "cifar10-resnet8": (1,)}
MEMBERS = 5
DEARER = ("digits-cnn", "sst-bag", "mnist-mlp")  # whose full runs are averaged too, at five times the cost


def of(store, folder, **asked):
    """The record of a run, made now or before."""
    spec = RunSpec(**asked)
    record = next((each for each in store.records() if each.id == spec.id), None)
    if record is None:
        record = train(spec, weights=folder)
        store.add(record)
    return record


def looked_at(text):
    """The control of a schedule, looked at 50 times and at cycle ends, and left as it is."""
    return f"stop_early({text}*plateau(patience={NEVER}), patience={NEVER})"


def clr(store, folder):
    """Validation on the way of a triangular rate, and where in its cycle each look was."""
    found = {}
    for name, (optimizer, base_lr) in CLR.items():
        task = find_task(name)
        total = task.full_steps - task.full_steps % (50 * CLR_CYCLES)
        rows = {}
        for label, text in (("triangular", f"triangular({CLR_CYCLES}, low=0.1)"), ("constant", "constant(0.5)")):
            record = of(store, folder, task=name, method=f"{optimizer}:{looked_at(text)}", base_lr=base_lr,
                        total_steps=total)  # fmt: skip
            rows[label] = [[each.step, round(each.values["accuracy"], 5)] for each in record.evals]
        length = total // CLR_CYCLES
        curve = rows["triangular"][-(50 - 50 // CLR_CYCLES) :]  # after the first cycle, when it has learnt something
        by_place = {}
        for step, value in curve:
            by_place.setdefault(round((step % length or length) / length, 2), []).append(value)
        means = {place: round(statistics.fmean(values), 4) for place, values in sorted(by_place.items())}
        best_place = max(means, key=means.get)
        ends = [value for step, value in curve if step % length == 0]
        lows = [min(value for step, value in curve if begin < step <= begin + length)
                for begin in range(length, total, length)]  # fmt: skip
        found[name] = {
            "metric": "validation accuracy", "base_lr": base_lr, "total_steps": total, "cycle": length,
            "curves": rows, "mean_by_place_in_cycle": means, "best_place_in_cycle": best_place,
            "worst_within_each_cycle": lows, "at_each_cycle_end": ends,
        }  # fmt: skip
        print(f"{name}: best at {best_place:.0%} of a cycle; worst within cycles {lows}, at their ends {ends}")
    return found


def drawn(found, path):
    """The curves of `clr` as a picture: the metric, and the rate below it."""
    import altair as alt

    from lrcontrol.report.save import save_chart

    panels = []
    for name, row in found.items():
        total = row["total_steps"]
        values = [
            {"updates": step, "validation accuracy": value, "rate": label}
            for label, curve in row["curves"].items()
            for step, value in curve
        ]
        least = min(value["validation accuracy"] for value in values if value["updates"] > row["cycle"] / 2)
        line = (
            alt.Chart(alt.Data(values=values), title=name)
            .mark_line(point=True, clip=True)
            .encode(
                x=alt.X("updates:Q", scale=alt.Scale(domain=[0, total])),
                y=alt.Y("validation accuracy:Q", scale=alt.Scale(domain=[least, 1.01 * max(
                    value["validation accuracy"] for value in values)], zero=False)),
                color=alt.Color("rate:N"),
            )
            .properties(width=420, height=200)
        )  # fmt: skip
        rates = schedule(f"triangular({CLR_CYCLES}, low=0.1)").multipliers(total)
        rate = (
            alt.Chart(alt.Data(values=[{"updates": step, "multiplier": float(rates[step])}
                                       for step in range(0, total, max(total // 200, 1))]))
            .mark_line(color="gray")
            .encode(x="updates:Q", y="multiplier:Q")
            .properties(width=420, height=60)
        )  # fmt: skip
        panels.append(alt.vconcat(line, rate))
    save_chart(alt.hconcat(*panels), path)


def stopping(store, folder):
    """What each rule would have done with the same runs, of equal cycles and of growing ones."""
    found = {"threshold": WORSE, "tasks": STOPPING}
    for kind, texts in (("equal", EQUAL), ("growing", GROWING)):
        runs, names = [], []
        for name, seed, text in itertools.product(STOPPING, SEEDS, texts):
            task = find_task(name)
            total, optimizer = task.full_steps, task.method.partition(":")[0]
            record = of(store, folder, task=name, method=f"{optimizer}:{looked_at(text)}", seed=seed,
                        base_lr=3 * task.base_lr, total_steps=total)  # fmt: skip
            values = {each.step: -each.values["accuracy"] for each in record.evals}
            looks = {round(total * (place + 1) / 50) for place in range(50)}
            runs.append((total, values, looks, schedule(text).cycle_ends(total), text))
            names.append(name)
        found[kind] = {"runs": len(runs), "rules": {}}
        print(f"\n{len(runs)} runs of {kind} cycles; wrongly stopped of {', '.join(texts)}")
        for patience in (3, 5, 8, 10, 15, 20):
            tell(
                found[kind]["rules"],
                f"ordinary, {patience} looks of 50",
                runs,
                names,
                [ordinary(patience, *run) for run in runs],
            )
        for patience in (1, 2, 3):
            tell(
                found[kind]["rules"],
                f"cycle ends, {patience}",
                runs,
                names,
                [by_cycles(patience, *run) for run in runs],
            )
    return found


def tell(rows, name, runs, names, outcomes):
    """Put down, and print, what a rule did."""
    row = rows[name] = summed(runs, names, outcomes)
    lost = f"{100 * row['final_against_whole'][0]:+.2f} ± {100 * row['final_against_whole'][1]:.2f}"
    by_schedule = ", ".join(map(str, row["wrongly_by_schedule"].values()))
    print(f"{name:26}wrongly stopped {row['wrongly']:>3} ({by_schedule}), "
          f"by ends alone {row['later_end_better_than_ends_before']:>3}, "
          f"stopped {row['stopped']:>3}, saved {row['saved']:>4.0%}, points against the whole run {lost}")  # fmt: skip


def ordinary(patience, total, values, looks, ends, text):
    """Where patience over all looks ends a run, and the metric it keeps: that of its best look."""
    del ends, text
    rule, best = Patience(patience), math.inf
    state = rule.start()
    for step in sorted(looks):
        best = min(best, values[step])
        verdict, state = rule.next(state, values[step])
        if verdict.over and step < total:
            return step, best
    return total, best


def by_cycles(patience, total, values, looks, ends, text):
    """The same of `stop_early`, told the metric wherever it was measured."""
    del looks, ends
    made = control(f"stop_early({text}, patience={patience})")
    _, state = made.start(total)
    kept = math.inf
    for step in sorted(values):
        decision, state = made.next(state, Observation(step - 1, metric=values[step]))
        kept = values[step] if decision.keep else kept
        if decision.stop is not None:
            return step, kept
    return total, kept


def summed(runs, names, outcomes):
    """Wrongly stopped runs, what was saved, and what it cost: the interval is over tasks, whose runs are alike."""
    stopped, by_ends, wrongly = 0, 0, dict.fromkeys((run[-1] for run in runs), 0)
    saved, against = [], []
    for (total, values, _, ends, text), (step, kept) in zip(runs, outcomes, strict=True):
        later = min((values[end] for end in ends if end > step), default=math.inf)
        stopped += step < total
        before = min((values[end] for end in ends if end <= step), default=math.inf)
        wrongly[text] += step < total and later < kept - WORSE
        by_ends += step < total and later < before - WORSE
        saved.append(1 - step / total)
        against.append(min(values[end] for end in ends) - kept)
    by_task = {name: [each for each, of in zip(against, names, strict=True) if of == name] for name in names}
    return {
        "wrongly": sum(wrongly.values()),
        "wrongly_by_schedule": wrongly,
        "later_end_better_than_ends_before": by_ends,
        "stopped": stopped,
        "saved": round(statistics.fmean(saved), 4),
        "final_against_whole": [round(value, 5) for value in interval([*map(statistics.fmean, by_task.values())])],
        "finals_against_whole": {name: [round(value, 5) for value in values] for name, values in by_task.items()},
        "stopped_after": [step for step, _ in outcomes],
    }


def ensembles(store, folder, tasks=()):
    """Test metrics of what one run's cost buys, each at its own best rate on validation with seed 0."""
    found = read().get("ensembles", {})
    for name in tasks or ENSEMBLES:
        factors = ENSEMBLES[name]
        task = find_task(name)
        optimizer, _, usual = task.method.partition(":")
        ways = {
            "one run": usual,
            "snapshots, 5 equal cycles": f"snapshots(cycles={MEMBERS}, members=all)",
            "snapshots, sgdr(3)": "snapshots(sgdr(3), members=all)",
        }
        rows = {}
        for label, text in ways.items():
            made = {}
            for factor in factors:
                asked = {"task": name, "method": f"{optimizer}:{text}", "base_lr": factor * task.base_lr,
                         "total_steps": task.full_steps, "save": True}  # fmt: skip
                made[factor] = (of(store, folder, seed=0, **asked), asked)
            asked = min(made.values(), key=lambda each: each[0].rank_key)[1]
            if label == "one run":
                full = asked
            for seed in SEEDS:
                record = of(store, folder, seed=seed, **asked)
                if not record.members:
                    rows.setdefault(label, []).append(tested(name, folder, {0: record})["all"])
                    continue
                judged = tested(name, folder, {0: record})
                rows.setdefault(f"{label}, all", []).append(judged["all"])
                rows.setdefault(f"{label}, chosen", []).append(judged["chosen"])
                rows.setdefault(f"{label}, chosen by the metric alone", []).append(judged["by metric"])
                rows.setdefault(f"{label}, last alone", []).append(judged["last"])
        parts = {}
        for factor in factors:
            asked = {"task": name, "method": f"{optimizer}:{usual}", "base_lr": factor * task.base_lr,
                     "total_steps": task.full_steps // MEMBERS, "save": True}  # fmt: skip
            parts[factor] = asked
        best = min(parts.values(), key=lambda asked: of(store, folder, seed=0, **asked).rank_key)
        for seed in SEEDS:
            several = {place: of(store, folder, seed=MEMBERS * seed + place, **best) for place in range(MEMBERS)}
            judged = tested(name, folder, several)
            rows.setdefault(f"{MEMBERS} runs of a fifth, all", []).append(judged["all"])
            rows.setdefault(f"{MEMBERS} runs of a fifth, mean of each", []).append(judged["each"])
        for repeat in range(1, 1 + len(SEEDS)) if name in DEARER else ():  # of seeds that single runs have not
            several = {place: of(store, folder, seed=MEMBERS * repeat + place, **full) for place in range(MEMBERS)}
            judged = tested(name, folder, several)
            rows.setdefault(f"{MEMBERS} full runs, all", []).append(judged["all"])
            rows.setdefault(f"{MEMBERS} full runs, mean of each", []).append(judged["each"])
        found[name] = {"metric": f"test {task.objective.metric}", "steps": task.full_steps, "finals": rows}
        show(name, found[name])
        FOUND.write_text(json.dumps({**read(), "ensembles": found}, indent=1) + "\n")
    return found


def tested(name, folder, records):
    """The test metric of the ensemble of all states of these records, of those chosen on validation, of the last.

    And of those chosen by the metric alone, by which more are equally good; and the mean of what each has by itself.
    """
    task = find_task(name)
    metric = task.objective.metric
    states = {}
    with alone():
        problem = build(task, 0)
        for place, record in records.items():
            if record.members:
                states |= load_states(folder, record)
            else:
                load_weights(problem.model, folder, record)
                states[place] = {key: value.clone() for key, value in problem.model.state_dict().items()}
        steps = sorted(states)
        validation = judge_of(problem, states, problem.validation)
        test = judge_of(problem, states, problem.test)

        def key(members):
            values = validation(members)
            return task.objective.lower_is_better(values[metric]), values["loss"]

        members = {
            "all": steps,
            "chosen": chosen_greedily(steps, key),
            "by metric": chosen_greedily(steps, lambda members: key(members)[0]),
            "last": steps[-1:],
        }
        each = statistics.fmean(test((step,))[metric] for step in steps)
        return {"each": each} | {way: test(chosen)[metric] for way, chosen in members.items()}


def show(name, row):
    print(f"\n{name}: {row['metric']} after {row['steps']} updates in all, {len(SEEDS)} seeds")
    one = np.array(row["finals"]["one run"])
    for label, values in row["finals"].items():
        mean, half = interval(values)
        ahead, doubt = interval(np.array(values) - one) if label != "one run" else (0.0, 0.0)
        print(f"  {label:38} {mean:.4f} ± {half:.4f}   against one run {100 * ahead:+.2f} ± {100 * doubt:.2f} points")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (Student's t)."""
    spread = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(student.ppf(0.975, len(values) - 1)) * spread


def read():
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def main():
    parts = {"clr": clr, "stopping": stopping, "ensembles": ensembles}
    asked = argparse.ArgumentParser()
    asked.add_argument("parts", nargs="*", default=[], metavar="PART")
    asked.add_argument("--tasks", nargs="*", default=[], metavar="TASK", help="of `ensembles`; by default all")
    asked.add_argument("--out", type=Path, default=Path("lrcontrol-out/cycles"))
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with Store(options.out / "runs.db") as store:
        for name in options.parts or parts:
            told = {"tasks": options.tasks} if name == "ensembles" else {}
            found = parts[name](store, options.out / "weights", **told)
            FOUND.write_text(json.dumps({**read(), name: found}, indent=1) + "\n")
            if name == "clr":
                drawn(found, PICTURE)


if __name__ == "__main__":
    main()
