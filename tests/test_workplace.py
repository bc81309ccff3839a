"""Where runs are carried out changes how long they take, and nothing that is found; time and place are kept to."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import lrcontrol as lrc
from lrcontrol import api, time_budgets
from lrcontrol.errors import BadInput, OverBudget, StoreError
from lrcontrol.runs.budget import Budget
from lrcontrol.runs.executors import processes
from lrcontrol.runs.record import Outcome, Record
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.store import Store
from lrcontrol.selection.portfolio import UNTUNED
from lrcontrol.time_budgets import allowed
from lrcontrol.training import loop, together
from lrcontrol.training.tasks import catalogue
from lrcontrol.workplace import Workplace

TASK = "breast-cancer-logistic"
LRS = [0.003, 0.01, 0.03, 0.1]


def found(folder: Path, executor: str) -> tuple[str, float, dict[str, float]]:
    """The best of a small search, and where every run ended."""
    searched = api.search(
        TASK, "grid", methods=["sgd:cosine", "sgd:wsd(cooldown=0.3)"], base_lrs=LRS, budget="8runs", out=folder,
        executor=executor, workers=2,
    )  # fmt: skip
    chosen = searched.study.chosen
    assert chosen is not None
    with Store(folder / "runs.db") as store:
        finals = {record.id: record.evals[-1].values["loss"] for record in store.records()}
    return str(chosen.spec.method), chosen.spec.base_lr, finals


@pytest.fixture(scope="module")
def in_series(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float, dict[str, float]]:
    return found(tmp_path_factory.mktemp("serial"), "serial")


HERE = ["processes", "batched", "auto", *(["ray"] if importlib.util.find_spec("ray") else [])]


@pytest.mark.parametrize("executor", HERE)
def test_every_executor_gives_the_same_choice(
    executor: str, in_series: tuple[str, float, dict[str, float]], tmp_path: Path
) -> None:
    method, base_lr, finals = found(tmp_path, executor)
    assert (method, base_lr) == in_series[:2]
    assert finals.keys() == in_series[2].keys()
    exact = 0 if executor in ("processes", "ray") else 2e-5
    assert finals == pytest.approx(in_series[2], rel=exact, abs=0)


def test_what_auto_has_found_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    api.search(TASK, "grid", methods=["sgd:cosine"], base_lrs=LRS, budget="4runs", out=tmp_path, executor="auto",
               told=said.append)  # fmt: skip
    (sentence,) = said
    assert sentence.startswith("Runs are trained ")
    assert "an update takes" in sentence


SCRIPT = """
import torch
import lrcontrol as lrc

@lrc.task(metric="threads", direction="minimize", full_steps=1)
def train(run):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    run.steer(optimizer)
    weight.square().sum().backward()
    optimizer.step()
    run.log(threads=torch.get_num_threads())
"""


PLACES = [(executor, cpus) for executor in ("serial", "processes") for cpus in (1, 2) if cpus <= processes.cores()]
PLACES += [("ray", 2)] if "ray" in HERE and processes.cores() > 1 else []


@pytest.mark.parametrize(("executor", "run_cpus"), PLACES)
def test_a_run_has_as_many_threads_as_processors(executor: str, run_cpus: int, tmp_path: Path) -> None:
    file = tmp_path / f"threads_{executor}_{run_cpus}.py"  # the name of a task is its file's
    file.write_text(SCRIPT)
    before = torch.get_num_threads()
    searched = api.search(f"{file}:train", "grid", base_lrs=[0.1], methods=["own:constant"],
                          budget="1run", out=tmp_path / "out", executor=executor, run_cpus=run_cpus)  # fmt: skip
    assert searched.study.chosen is not None
    assert searched.study.chosen.final == run_cpus
    assert torch.get_num_threads() == before


POOL = SCRIPT.replace(
    "import lrcontrol", "torch.set_num_threads(2)\ntorch.ones(600, 600) @ torch.ones(600, 600)\nimport lrcontrol"
)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="nobody tells the threads of a process here")
def test_a_run_has_one_thread_where_its_file_has_begun_a_pool_of_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A process that is forked from one with a pool would wait for ever for threads that it has not."""
    (tmp_path / "pooled.py").write_text(POOL)
    searched = api.search(f"{tmp_path / 'pooled.py'}:train", "grid", base_lrs=[0.1, 0.2], methods=["own:constant"],
                          budget="2runs", out=tmp_path / "out", run_cpus=2, workers=1, run_seconds=120)  # fmt: skip
    assert searched.study.chosen is not None
    assert searched.study.chosen.final == 1
    assert capfd.readouterr().err.count("has begun threads of its own, so that runs have one each") == 1


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_runs_with_two_threads_are_those_with_one_but_for_rounding(executor: str, tmp_path: Path) -> None:
    one, two = (
        api.search(TASK, "grid", methods=["sgd:cosine"], base_lrs=[0.03], budget="1run", out=tmp_path / str(cpus),
                   executor=executor, run_cpus=cpus).study.chosen
        for cpus in (1, 2)
    )  # fmt: skip
    assert one is not None
    assert two is not None
    assert two.id == one.id
    assert two.final == pytest.approx(one.final, rel=1e-5)


def test_processors_of_a_run_are_not_given_to_others() -> None:
    assert Workplace(workers=3, run_cpus=2).slots == 3
    assert Workplace(run_cpus=processes.cores()).slots == 1
    assert Workplace().slots == processes.cores()
    assert Workplace("serial", run_cpus=2).slots == 1


@pytest.mark.parametrize(
    ("seconds", "runs", "cores", "threads", "told"),
    [
        (
            {1: 0.010, 4: 0.004},
            1,
            4,
            4,
            "Runs have 4 threads each: an update takes 10.0 ms with one and 4.0 ms with 4",
        ),
        (
            {1: 0.010, 4: 0.009},
            1,
            4,
            1,
            "Runs have one thread each: an update takes 10.0 ms with one and 9.0 ms with 4",
        ),
        (
            {1: 0.010, 2: 0.005},
            2,
            4,
            2,
            "Runs have 2 threads each: an update takes 10.0 ms with one and 5.0 ms with 2",
        ),
        ({1: 0.010}, 3, 4, 1, "Runs are trained one after the other: an update takes 10.0 ms, of which Python has"),
        ({1: 0.010}, 1, 1, 1, "Runs are trained one after the other: an update takes 10.0 ms, of which Python has"),
        ({1: 0.001}, 1, 4, 1, "Runs are trained one after the other: there is one at a time"),
    ],
)
def test_auto_gives_a_few_slow_runs_the_cores_that_are_idle(
    seconds: dict[int, float], runs: int, cores: int, threads: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds_of_update(spec: RunSpec, *, threads: int = 1, clock: object = None, device: object = None) -> float:
        return seconds[threads]

    monkeypatch.setattr(loop, "seconds_of_update", seconds_of_update)
    specs = [RunSpec(task=TASK, method="sgd:cosine", base_lr=rate, total_steps=5) for rate in LRS[:runs]]
    found = together.gain_of(specs, cores)
    assert (found.threads, found.times) == (threads, 1.0)
    assert found.told.startswith(told)


def test_auto_times_what_can_be_trained_at_once_wherever_it_stands_among_the_others() -> None:
    methods = ["adamw:cosine*l4", "schedulefree_sgd:constant", "adamw:cosine", "adamw:rex", "adamw:linear"]
    specs = [RunSpec(task="digits-softmax", method=each, base_lr=0.01, total_steps=60) for each in methods]
    found = together.gain_of(specs)
    assert found.times > 1
    assert "among 3 at once" in found.told


NEGATIVE = """
import torch
import lrcontrol as lrc


@lrc.as_task(metric="nll", direction="minimize", full_steps=60)
def gauss(seed):
    x = torch.linspace(-1, 1, 96)[:, None]
    splits = [lrc.Split(x[first::3], 0.1 * x[first::3, 0]) for first in range(3)]

    def nll(outputs, targets):
        return (outputs[:, 1] + 0.5 * ((targets - outputs[:, 0]) / outputs[:, 1].exp()) ** 2).mean()

    model = torch.nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([0.0, -1.0]))
    return lrc.Problem(model, *splits, nll, lambda o, t: {"nll": float(nll(o, t))}, batch_size=16, seed=seed)
"""


def gauss(folder: Path, name: str) -> str:
    """A task whose losses are below 0, which l4 cannot train; the name of a task is its file's."""
    (folder / f"{name}.py").write_text(NEGATIVE)
    return f"{folder / name}.py:gauss"


@pytest.mark.parametrize("executor", ["serial", "processes", "batched", "auto"])
def test_a_selection_goes_on_with_more_where_something_cannot_be_trained_at_once(
    executor: str, tmp_path: Path
) -> None:
    """The plain default, then what needs no rate, then a race; and the same again, which finds everything there."""
    for budget in ("1run", "3runs", "6runs", "6runs"):
        found = lrc.select(TASK, budget=budget, out=tmp_path, executor=executor, workers=2)
    with Store(tmp_path / "runs.db") as store:
        methods = {str(record.spec.method) for record in store.records()}
    assert {str(each.method) for each in UNTUNED} < methods
    assert any("were run in full as the plain default was" in reason for reason in found.reasons)


@pytest.mark.parametrize("executor", ["serial", "auto"])
def test_what_cannot_train_a_task_is_told_and_ends_no_study(executor: str, tmp_path: Path) -> None:
    asked = gauss(tmp_path, f"negative_{executor}")
    for _ in range(2):
        found = lrc.select(asked, budget="2runs", out=tmp_path / "out", executor=executor)
    assert "adamw:cosine*l4 at 0.001 cannot train this task: " in " ".join(found.reasons)
    assert "losses must be positive under l4" in " ".join(found.reasons)
    assert not any("were run in full" in reason or "was run in full" in reason for reason in found.reasons)
    assert found.choice.caution == "Nothing was compared: no other run ended with weights that work."


def test_an_update_is_timed_however_short_the_run() -> None:
    for steps in (1, 3, 4, 50):
        spec = RunSpec(task=TASK, method="sgd:cosine", base_lr=0.1, total_steps=steps)
        assert 0 < loop.seconds_of_update(spec) < 5


def test_many_at_once_are_refused_where_they_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be batched: .*; use the processes executor"):
        api.search("etth1-lstm", "grid", methods=["sgd:cosine"], base_lrs=[0.1], budget="1run", out=tmp_path,
                   executor="batched")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"executor": "threads"}, "unknown executor 'threads'"),
        ({"executor": "serial:8"}, "only ray takes an address"),
        ({"workers": 0}, "`workers` must be an integer >= 1, got workers=0"),
        ({"run_seconds": -1}, "`run_seconds` must be a number > 0"),
        ({"run_gigabytes": 0}, "`run_gigabytes` must be"),
        ({"run_gpus": 1}, "only a cluster sets `run_gpus` aside, got executor='processes'"),
        (
            {"run_cpus": 1.5},
            "`run_cpus` must be a whole number where runs have threads of this machine, got run_cpus=1.5",
        ),
        ({"run_cpus": 0.5, "executor": "serial"}, "must be a whole number .* got run_cpus=0.5"),
        (
            {"run_cpus": 10_000},
            "`run_cpus` must be at most [0-9]+, as many processors as there are here, got run_cpus=10000",
        ),
        ({"run_cpus": 2, "executor": "batched"}, "runs that are trained at once have one thread, got run_cpus=2"),
        ({"executor": "serial", "run_seconds": 5}, "need a process of its own"),
    ],
)
def test_a_bad_place_is_refused_before_anything_runs(given: dict[str, object], match: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=match):
        lrc.select(TASK, budget="1run", out=tmp_path, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_promoted_runs_go_on_and_no_checkpoint_is_left(executor: str, tmp_path: Path) -> None:
    """The longest run is the one that a whole run of the same method would be; what is not needed is gone."""
    searched = api.search(
        TASK, "halving", methods=["sgd:cosine"], base_lrs=[0.003, 0.01, 0.03, 0.1, 0.3, 1.0], rungs="continued",
        budget="2runs", out=tmp_path, executor=executor, workers=2,
    )  # fmt: skip
    chosen = searched.study.chosen
    assert chosen is not None
    assert chosen.spec.start is not None
    whole = loop.train(RunSpec(task=TASK, method="sgd:cosine", base_lr=chosen.spec.base_lr, total_steps=2100))
    assert chosen.column("loss").tobytes() == whole.column("loss")[chosen.spec.start.step :].tobytes()
    assert chosen.evals[-1] == whole.evals[-1]
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_checkpoint_that_was_dropped_is_made_again(tmp_path: Path) -> None:
    """A larger budget promotes others, whose checkpoints nobody needed before: no run fails of that."""
    rates = [0.003 * 1.5**place for place in range(12)]
    for budget, executor in (("2runs", "serial"), ("4runs", "processes")):
        searched = api.search(TASK, "halving", methods=["sgd:cosine"], base_lrs=rates, rungs="continued",
                              budget=budget, out=tmp_path, executor=executor, workers=2)  # fmt: skip
    with Store(tmp_path / "runs.db") as store:
        outcomes = [record.outcome for record in store.records()]
    assert set(outcomes) == {Outcome.FINISHED}
    assert len(searched.study.stages[-1].records) >= 1
    assert list((tmp_path / "weights").iterdir()) == []


def test_checkpoints_lost_before_the_last_rung_are_made_again_from_the_beginning(tmp_path: Path) -> None:
    """Each run that leads to a lost one is made once more, and kept until that is there."""
    rates = [0.003 * 1.5**place for place in range(12)]
    made: list[Record] = []

    def lose(record: Record) -> None:
        made.append(record)
        assert len(made) < 30, "the same runs are made again and again"
        steps = sorted({each.spec.stop_step for each in made})
        if len(steps) == 2 and len(made) == 12 + 5:  # the second of three rungs is there
            for file in (tmp_path / "weights").iterdir():
                file.unlink()

    searched = api.search(TASK, "halving", methods=["sgd:cosine"], base_lrs=rates, rungs="continued",
                          budget="4runs", out=tmp_path, executor="serial", seen=lose)  # fmt: skip
    rungs = [len(stage.records) for stage in searched.study.stages]
    assert len(rungs) == 3
    assert {record.outcome for record in made} == {Outcome.FINISHED}
    assert len(made) > sum(rungs), "something was lost, and made again"
    assert list((tmp_path / "weights").iterdir()) == []


def test_auto_goes_on_with_runs_that_go_on(tmp_path: Path) -> None:
    given = {"methods": ["sgd:cosine"], "base_lrs": LRS, "rungs": "continued", "out": tmp_path, "workers": 1}
    short = api.search(TASK, "halving", budget="1runs", executor="auto", **given)
    again = api.search(TASK, "halving", budget="3runs", executor="auto", **given)
    for found in (short, again):
        assert found.study.chosen is not None
        assert {record.outcome for stage in found.study.stages for record in stage.records} == {Outcome.FINISHED}


def test_a_budget_in_time_is_kept_to_and_goes_on_with_the_same_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reckoned far too high, the time still ends it; the same command again begins nothing anew."""
    monkeypatch.setattr(loop, "seconds_of", lambda task, **_: 0.05)
    began = time.monotonic()
    chosen = lrc.select(TASK, budget="4s", out=tmp_path, executor="serial")
    assert time.monotonic() - began < 30
    assert chosen.budget == Budget(int(0.8 * 4 / 0.05 * 2100), 2100, 4.0)
    assert any(reason.startswith("The time was up before all runs that were") for reason in chosen.reasons)
    assert any("4 s (reckoned as 64 runs)" in reason for reason in chosen.reasons)
    monkeypatch.setattr(loop, "seconds_of", lambda task, **_: 1.0)
    made: list[Record] = []
    again = lrc.select(TASK, budget="4s", out=tmp_path, executor="serial", seen=made.append)
    assert made == [], "no time is given twice"
    assert again.budget == chosen.budget
    assert again.record.id == chosen.record.id
    assert lrc.load_selection(tmp_path).reasons == again.reasons


def test_where_time_is_short_runs_are_made_in_full_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run takes eight times what was reckoned, so that the first rung alone would take all of the time."""
    now = [0.0]

    def took(record: Record) -> None:
        now[0] += record.cost.steps / 2100

    for module in (api, time_budgets):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(loop, "seconds_of", lambda task, **_: 1 / 8)
    chosen = lrc.select(TASK, budget="8s", out=tmp_path, executor="serial", seen=took)
    first, *_, last = chosen.choice.stages
    assert len(last.records) > 2
    assert now[0] < 2 * 8, "of the 51 s that all would take"
    assert chosen.choice.caution == ""
    (sentence,) = [reason for reason in chosen.reasons if f"The race over {first.total_steps} steps ended" in reason]
    assert f"after {len(first.records)} of " in sentence
    assert lrc.load_selection(tmp_path).reasons == chosen.reasons
    found = api.search(TASK, "halving", budget="8s", out=tmp_path / "search", executor="serial", seen=took)
    assert len(found.study.stages[-1].records) > 2
    assert found.study.caution == ""


def test_what_is_left_of_a_time_goes_on_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interrupt, with what was used besides training."""
    monkeypatch.setattr(loop, "seconds_of", lambda task, **_: 0.5)

    def interrupt(record: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lrc.select(TASK, budget="60s", out=tmp_path, executor="serial", seen=interrupt)
    used = json.loads((tmp_path / "time.json").read_bytes())["used"]
    assert used > 0
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        lrc.select(TASK, budget="60s", out=tmp_path, executor="serial", seen=interrupt, told=said.append)
    assert said == [f"Of 60 s {used:.0f} s were used before; {60 - used:.0f} s are left."]
    assert json.loads((tmp_path / "time.json").read_bytes())["used"] > used


ONCE = """
import time
import torch
import lrcontrol as lrc

@lrc.task(metric="val_loss", direction="minimize", full_steps={full}, prepare=lambda: time.sleep(50))
def train(run):
    time.sleep({before})
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = run.steer(torch.optim.SGD([weight], lr=0.1))
    while not run.should_stop:
        time.sleep(0.5 if run.step == 0 else 0.005)
        weight.square().sum().backward()
        optimizer.step()
        if {every} and run.step % {every} == 0:
            time.sleep(0.1)
    time.sleep({after})
    run.log(val_loss=1.0)
"""


@pytest.mark.parametrize(
    ("full", "before", "every", "after"),
    [
        *((400, 2.0, 0, 0.0), (400, 0.0, 0, 3.0), (2000, 1.0, 5, 1.0), (11, 1.0, 0, 1.0)),
        *((10, 2.0, 2, 0.0), (2, 1.0, 0, 1.0), (1, 1.0, 0, 1.0)),
    ],
)
def test_what_a_script_does_once_is_reckoned_once(
    full: int, before: float, every: int, after: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its first update, which is slower; looks at validation as often as they are made."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    file = tmp_path / f"once_{full}_{before:g}_{after:g}.py"
    file.write_text(ONCE.format(full=full, before=before, every=every, after=after))
    task = catalogue.named(f"{file}:train")
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    truth = before + 0.5 + 0.005 * (full - 1) + 0.1 * (full // every if every else 0) + after
    assert loop.seconds_of(task) == pytest.approx(truth, rel=0.15 if every else 1e-6)
    assert now[0] <= 50 + truth * 1.001, "what runs share is loaded apart, and at most a run is made"


def test_a_time_in_which_no_run_fits_is_told(tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match=r"at least one full run of digits-cnn, got 0.2s, in which about 0\.\d+ run"):
        lrc.select("digits-cnn", budget="0.2s", out=tmp_path / "out", executor="serial")
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time_carries_out_a_study_in_a_folder(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from lrcontrol.study_folder import held
with held(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"another process \\({holder.pid}\\) carries out a study in"):
            lrc.select(TASK, budget="1run", out=tmp_path, executor="serial")
    finally:
        holder.kill()
        holder.communicate()
    assert lrc.select(TASK, budget="1run", out=tmp_path, executor="serial").record.outcome is Outcome.FINISHED


def test_a_run_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    found = api.search(TASK, "grid", methods=["sgd:cosine"], base_lrs=[0.1], budget="1run", out=tmp_path,
                       executor="processes", workers=1, run_seconds=0.05)  # fmt: skip
    (record,) = found.study.stages[-1].records
    assert record.outcome is Outcome.FAILED
    assert "longer than 0.05 s" in (record.message or "")


def test_what_is_told_of_a_place_is_what_it_has() -> None:
    assert Workplace("serial").slots == 1
    assert Workplace("ray:10.0.0.1:6379").kind == "ray"
    assert Workplace(workers=3).slots == 3
    assert Workplace().slots == len(os.sched_getaffinity(0))
    budget = allowed("2epochs", catalogue.task(TASK), 1, Path())
    assert budget.steps == 2 * catalogue.task(TASK).steps_per_epoch
