"""Candidates a second: ours beside what a user would write, on this machine with two of its cores.

    python benchmarks/candidates.py [TASK ...] [--many K ...] [--no-ray] [--device cuda]

The candidates are base learning rates of `adamw:cosine`, all with seed 0, each of as many updates as the table says.
Ours is a search carried out with its store on disk: `auto` (two processes, many at once where the first updates show
that to be faster) and `processes`. The peers are what one would write: a study of Optuna, in memory, over a plain loop
with a DataLoader, AdamW as it comes and torch's own cosine; and Ray Tune over the same loop, two at a time. Peers make
at most `PEER` candidates, and their time is for each; a study of ours is timed as a whole. The least and the best
validation metric of both are told: they differ by the order of the data alone, which is drawn otherwise.

With --device all train there, the peers' loop as one would write it, batch after batch from the loader; Ray Tune is
left out, and rows are kept beside those of other devices.

A sweep is 32 cooldowns over the last fifth of one run, with ours sharing what they have in common.
Prints a table and writes candidates.json beside this file, in which tasks that are not measured keep their rows: rows
of task, what, candidates, updates, and candidates a
second of ours (auto, processes), Optuna's and Ray Tune's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__)
UPDATES = {"digits-softmax": 300, "digits-mlp": 300, "digits-cnn": 330, "shakespeare-gpt-100k": 100}
MANY = (1, 8, 32, 128)
PEER = 6
SLOW = {"digits-cnn": 32, "shakespeare-gpt-100k": 32}  # the most candidates of tasks whose updates take long


def rates(count):
    return [1e-3 * 2.0 ** (-3 * place / count) for place in range(count)]


def user_loop(name, base_lr, updates, schedule=None, device="cpu"):
    """The loop that one would write."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from lrcontrol.training.tasks.catalogue import task
    from lrcontrol.training.tasks.problem import build

    problem = build(task(name), 0)
    loader = DataLoader(
        TensorDataset(problem.train.inputs, problem.train.targets),
        batch_size=problem.batch_size,
        shuffle=True,
        drop_last=True,
    )
    problem = problem.on(torch.device(device))
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=base_lr)
    if schedule is None:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    else:
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    problem.model.train()
    step = 0
    while step < updates:
        for inputs, targets in loader:
            loss = problem.loss(problem.model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            if step == updates:
                break
    return problem.evaluate(problem.validation)["loss"]


def cooldown(end, updates):
    """A constant rate, and over the last fifth a straight line to `end`."""
    trunk = updates * 4 // 5

    def multiplier(step):
        return 1.0 if step < trunk else 1 - (1 - end) * (step - trunk) / (updates - trunk)

    return multiplier


def optuna_seconds(name, updates, count, sweep, device):
    """Seconds a candidate."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []

    def objective(trial):
        place = trial.suggest_int("place", 0, count - 1)
        if sweep:
            found.append(user_loop(name, 1e-3, updates, cooldown(place / count, updates), device))
        else:
            found.append(user_loop(name, rates(count)[place], updates, device=device))
        return found[-1]

    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"place": list(range(count))}))
    user_loop(name, 1e-3, 3, device=device)
    began = time.perf_counter()
    study.optimize(objective, n_trials=min(count, PEER))
    return (time.perf_counter() - began) / min(count, PEER), min(found)


def tune_seconds(name, updates, count):
    """Seconds a candidate, with Ray up already and its workers too."""
    import ray
    from ray import tune

    folder = tempfile.mkdtemp()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=folder)

    def objective(config):
        import torch

        torch.set_num_threads(1)
        return {"loss": user_loop(name, config["lr"], updates)}

    def go(values):
        tuner = tune.Tuner(
            objective,
            param_space={"lr": tune.grid_search(values)},
            run_config=tune.RunConfig(verbose=0, storage_path=folder),
        )
        return tuner.fit()

    go(rates(2))
    made = max(min(count, PEER), 2)
    began = time.perf_counter()
    results = go(rates(made))
    seconds = (time.perf_counter() - began) / made
    best = min(result.metrics["loss"] for result in results)
    ray.shutdown()
    return seconds, best


def our_seconds(name, updates, count, executor, sweep, device):
    """Seconds a candidate of a whole study, with processes that have begun."""
    from lrcontrol.runs.budget import Budget
    from lrcontrol.runs.carry_out import carry_out
    from lrcontrol.runs.spec import RunSpec
    from lrcontrol.runs.store import Store
    from lrcontrol.search.plan import Plan
    from lrcontrol.training.tasks.catalogue import task
    from lrcontrol.workplace import Workplace, make_executor

    if sweep:
        methods = [f"adamw:constant(share=0.8)+linear(start=1, end={place / count})" for place in range(count)]
        pairs = [(method, 1e-3) for method in methods]
    else:
        pairs = [("adamw:cosine", rate) for rate in rates(count)]

    def specs(seed, chosen=pairs):
        return tuple(
            RunSpec(task=name, method=method, base_lr=rate, total_steps=updates, seed=seed) for method, rate in chosen
        )

    known = task(name)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "runs.db") as store,
        make_executor(Workplace(executor, workers=2, device=device), known, Path(folder), first=specs(0)) as runner,
    ):
        warm = Plan(specs(1, [("adamw:cosine", rate) for rate in rates(16)]))  # enough for both processes to begin
        carry_out(warm, runner, store, Budget(10**9, updates))
        began = time.perf_counter()
        carry_out(Plan(specs(0)), runner, store, Budget(10**9, updates))
        seconds = (time.perf_counter() - began) / count
        best = min(record.evals[-1].values["loss"] for record in store.records() if record.spec.seed == 0)
    return seconds, best


def alone(what, *arguments):
    """One measurement in a process of its own: ours with one thread, peers with as many as torch takes."""
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    if what == "ours":
        environment["OMP_NUM_THREADS"] = "1"
    call = [sys.executable, str(HERE), "--measure", json.dumps([what, *arguments])]
    done = subprocess.run(call, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    seconds, best = json.loads(done.stdout.splitlines()[-1])
    return 1 / seconds, best


MEASURES = {"ours": our_seconds, "optuna": optuna_seconds, "tune": tune_seconds}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", default=list(UPDATES))
    parser.add_argument("--many", nargs="*", type=int, default=list(MANY))
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--measure")
    given = parser.parse_args()
    if given.measure:
        what, *arguments = json.loads(given.measure)
        print(json.dumps(MEASURES[what](*arguments)))
        return
    rows = []
    print(
        f"{'candidates a second':44}{'auto':>9}{'processes':>11}{'Optuna':>9}{'Ray Tune':>10}{'auto/Optuna':>13}"
        f"{'auto/Tune':>11}  best losses"
    )
    for name in given.tasks:
        updates = UPDATES[name]
        tuned = None if given.no_ray or given.device != "cpu" else alone("tune", name, updates, PEER)
        for what, count in [*(("rates", many) for many in given.many), ("cooldowns", 32)]:
            if given.device == "cpu" and count > SLOW.get(name, count):
                continue
            sweep = what == "cooldowns"
            peer = alone("optuna", name, updates, count, sweep, given.device)
            auto = alone("ours", name, updates, count, "auto", sweep, given.device)
            processes = alone("ours", name, updates, count, "processes", sweep, given.device)
            rows.append(
                {
                    "task": name,
                    "what": what,
                    "device": given.device,
                    "candidates": count,
                    "updates": updates,
                    "auto": float(f"{auto[0]:.4g}"),
                    "processes": float(f"{processes[0]:.4g}"),
                    "optuna": float(f"{peer[0]:.4g}"),
                    "tune": tuned and float(f"{tuned[0]:.4g}"),
                    "ratio": float(f"{auto[0] / peer[0]:.3g}"),
                }
            )
            of_tune = "" if tuned is None else f"{tuned[0]:10.2f}"
            print(
                f"{f'{name}, {count} {what} of {updates} updates':44}{auto[0]:9.2f}{processes[0]:11.2f}{peer[0]:9.2f}"
                f"{of_tune:>10}{auto[0] / peer[0]:13.1f}{'' if tuned is None else f'{auto[0] / tuned[0]:11.1f}'}"
                f"  {auto[1]:.4f} {peer[1]:.4f}",
                flush=True,
            )
    path = HERE.with_name("candidates.json")
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [row for row in before if row["task"] not in given.tasks or row.get("device", "cpu") != given.device]
    path.write_text(json.dumps(kept + rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
