"""The rate that an optimizer finds: what its updates went by, in records, exports, pages and what a race says."""

import csv
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lrcontrol as lrc
import optimizer_twins as twins
from command_kit import Run, caller
from lrcontrol import api
from lrcontrol.analysis.compare import Stage
from lrcontrol.errors import BadInput
from lrcontrol.report import charts
from lrcontrol.report.found import found_text, largest_found, rates_found
from lrcontrol.report.study import study_charts
from lrcontrol.runs.method import method as parse_method
from lrcontrol.runs.record import Evaluation, Objective, Outcome, Record
from lrcontrol.runs.spec import RunSpec, Start
from lrcontrol.runs.storage.exported import export
from lrcontrol.runs.store import Store
from lrcontrol.selection.telling import still_growing
from lrcontrol.training.loop import train, train_all
from lrcontrol.training.optimizers import make_optimizer
from lrcontrol.training.optimizers.found import found_lr, growth_of, numbers_of
from lrcontrol.training.tasks.catalogue import named
from lrcontrol.training.tasks.problem import build
from test_lr_free import apart, begun, flat, scheduled, slopes
from test_scripts import asked, carried, plain, update

FINDING = ("prodigy", "dadapt_sgd", "dadapt_adam", "dog", "ldog", "dowg", "mechanic(adamw)", "mechanic(sgd)")
NOT_FINDING = ("schedulefree_sgd", "schedulefree_adamw", "cocob", "sgd", "adamw")
STEPS = 60


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(capfd)


def steps_of(text: str) -> Any:
    """For each update: the optimizer after it, the rate in force, gradients, and the parameters before and after."""
    parameters = begun()
    optimizer = make_optimizer(text, parameters)
    rates = scheduled(text)
    for step in range(STEPS):
        slopes(parameters, step)
        grads, before = [each.grad.clone() for each in parameters], [each.detach().clone() for each in parameters]
        for group in optimizer.param_groups:
            group["lr"] = rates(step)
        optimizer.step()
        yield optimizer, rates(step), grads, before, [each.detach().clone() for each in parameters]


def found_in(optimizer: Any) -> float:
    found = found_lr(optimizer)
    assert found is not None
    return found


def moved(tensors: list[Tensor], grads: list[Tensor], rate: float) -> Tensor:
    return flat([each.add(grad, alpha=-rate) for each, grad in zip(tensors, grads, strict=True)])


# ---- what an update went by ----


@pytest.mark.parametrize("text", ["dog", "dowg", "dog(initial_distance=1e-3)", "dowg(eps=0.5)"])
def test_an_update_is_the_rate_times_the_gradient(text: str) -> None:
    for optimizer, lr, grads, before, after in steps_of(text):
        assert torch.equal(flat(after), moved(before, grads, found_in(optimizer) * lr))


def test_ldogs_is_the_geometric_mean_of_those_of_its_tensors() -> None:
    for optimizer, lr, grads, before, after in steps_of("ldog"):
        rates = [
            float(((old - new) / grad).reshape(-1).median()) / lr
            for old, new, grad in zip(before, after, grads, strict=True)
        ]
        assert found_in(optimizer) == pytest.approx(math.exp(sum(map(math.log, rates)) / len(rates)), rel=1e-6)
    assert max(rates) > 1.5 * min(rates)


def test_ldogs_is_of_the_tensors_that_were_moved_and_of_all_groups() -> None:
    ours, theirs = begun(), begun()
    whole = make_optimizer("ldog", ours)
    split = make_optimizer("ldog", [{"params": theirs[:2]}, {"params": theirs[2:]}])
    for step in range(5):
        for parameters, optimizer in ((ours, whole), (theirs, split)):
            slopes(parameters, step)
            if step % 2:
                parameters[1].grad = None
            optimizer.step()
        assert found_in(whole) == pytest.approx(found_in(split), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_dadapt_sgd_sums_the_rate_times_the_gradient(momentum: float) -> None:
    start, sums = flat(begun()), torch.zeros_like(flat(begun()))
    for optimizer, lr, grads, before, after in steps_of(f"dadapt_sgd(momentum={momentum})"):
        sums += lr * found_in(optimizer) * flat(grads)
        assert apart(flat(after), momentum * flat(before) + (1 - momentum) * (start - sums)) < 1e-12


@pytest.mark.parametrize("corrects", ["", "bias_correction=true"])
@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam"])
def test_an_update_is_the_rate_times_adams_direction(name: str, corrects: str) -> None:
    """Adam's moments without correction, of gradients in units of what was found."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    first, second = torch.zeros_like(flat(begun())), torch.zeros_like(flat(begun()))
    d = 1e-6
    for optimizer, lr, grads, before, after in steps_of(f"{name}({corrects})"):
        found, grad = found_in(optimizer), flat(grads)
        if name == "prodigy":
            first = beta1 * first + (1 - beta1) * d * grad
            second = beta2 * second + (1 - beta2) * d**2 * grad**2
            d = optimizer.param_groups[0]["d"]
            move = lr * found * first / (second.sqrt() + d * eps)
        else:
            first = beta1 * first + (1 - beta1) * lr * found * grad
            second = beta2 * second + (1 - beta2) * grad**2
            move = first / (second.sqrt() + eps)
        assert float((flat(after) - (flat(before) - move)).abs().max()) < 1e-7 * float(move.abs().max())
    assert d == 1e-6 or found > 100 * 1e-6


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam"])
def test_it_is_the_estimate_before_the_update(name: str) -> None:
    twin_type = {"prodigy": twins.Prodigy, "dadapt_adam": twins.DAdaptAdam}[name]
    parameters = begun()
    twin, rates = twin_type(parameters), scheduled(name)
    d = 1e-6
    for step, (optimizer, *_) in enumerate(steps_of(name)):
        assert found_in(optimizer) == pytest.approx(d, rel=1e-9)
        slopes(parameters, step)
        twin.step(rates(step))
        d = twin.d


@pytest.mark.parametrize("inner", ["sgd", "adamw"])
def test_mechanics_is_the_scale_of_the_sum(inner: str) -> None:
    start = flat(begun())
    for optimizer, *_, after in steps_of(f"mechanic({inner})"):
        sums = flat([optimizer.state[each]["delta"] for each in optimizer.param_groups[0]["params"]])
        assert apart(flat(after), start + found_in(optimizer) * sums) < 1e-12
    assert found_in(optimizer) > 0


@pytest.mark.parametrize("text", FINDING)
def test_there_is_none_before_the_first_update_nor_after_loading(text: str) -> None:
    (weight,) = parameters = [nn.Parameter(torch.ones(2))]
    optimizer = make_optimizer(text, parameters)
    assert found_lr(optimizer) is None
    weight.grad = torch.ones(2)
    optimizer.step()
    assert found_lr(optimizer) is not None
    optimizer.load_state_dict(optimizer.state_dict())
    assert found_lr(optimizer) is None


@pytest.mark.parametrize("text", NOT_FINDING)
def test_there_is_none_where_no_rate_is_found(text: str) -> None:
    (weight,) = parameters = [nn.Parameter(torch.ones(2))]
    optimizer = make_optimizer(text, parameters, 1.0)
    weight.grad = torch.ones(2)
    optimizer.step()
    assert found_lr(optimizer) is None


def test_a_rate_of_zero_keeps_what_was_found_and_no_gradient_finds_nothing() -> None:
    (weight,) = parameters = [nn.Parameter(torch.ones(2))]
    prodigy, dadapt = make_optimizer("prodigy", parameters), make_optimizer("dadapt_sgd", parameters)
    weight.grad = torch.zeros(2)
    dadapt.step()
    assert found_lr(dadapt) is None
    prodigy.param_groups[0]["lr"] = 0.0
    prodigy.step()
    assert found_lr(prodigy) == 1e-6


def test_an_optimizer_that_is_wrapped_is_seen_through_and_others_are_refused() -> None:
    class Wrapping(torch.optim.Optimizer):
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

    (weight,) = parameters = [nn.Parameter(torch.ones(2))]
    optimizer = make_optimizer("dog", parameters)
    weight.grad = torch.ones(2)
    optimizer.step()
    assert found_lr(Wrapping(optimizer)) == found_lr(optimizer)
    with pytest.raises(BadInput, match="`optimizer` must be a torch optimizer"):
        found_lr(weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam", "dadapt_sgd"])
def test_the_packages_tell_what_the_next_update_will_go_by(name: str) -> None:
    dadaptation, prodigyopt = pytest.importorskip("dadaptation"), pytest.importorskip("prodigyopt")
    made = {"prodigy": prodigyopt.Prodigy, "dadapt_adam": dadaptation.DAdaptAdam, "dadapt_sgd": dadaptation.DAdaptSGD}
    ours, theirs = begun(), begun()
    optimizer, package = (
        make_optimizer(f"{name}(momentum=0)" if name == "dadapt_sgd" else name, ours),
        made[name](theirs),
    )
    assert found_lr(package) is None
    next_one = None
    for step in range(30):
        for parameters, each in ((ours, optimizer), (theirs, package)):
            slopes(parameters, step)
            each.step()
        if next_one is not None:
            assert found_lr(optimizer) == pytest.approx(next_one, rel=1e-9)
        next_one = found_lr(package)


def test_numbers_of_several_updates_are_those_of_each() -> None:
    found = [None, 0.5, torch.tensor(0.25), torch.tensor([1.0, 4.0]), torch.tensor([0.1]), torch.tensor([0.0, 2.0])]
    assert numbers_of(found).tolist() == pytest.approx([math.nan, 0.5, 0.25, 2.0, np.float32(0.1), 0.0], nan_ok=True)
    assert numbers_of(found)[4] == np.float32(0.1)
    assert numbers_of([]).tolist() == []


# ---- the column ----


def spec_of(method: str, **change: Any) -> RunSpec:
    return RunSpec(method=method, **{"task": "digits-mlp", "base_lr": 1.0, "total_steps": 60, "seed": 2} | change)


def of_loop(method: str, steps: int) -> list[float]:
    """What `found_lr` tells after each update of a plain loop over the same data."""
    torch.manual_seed(2)
    problem = build(named("digits-mlp"), 2)
    spec = spec_of(method, total_steps=steps)
    optimizer = make_optimizer(spec.method.optimizer, problem.model.parameters())
    told = []
    for step, (inputs, targets) in enumerate(problem.batches(0, steps)):
        for group in optimizer.param_groups:
            group["lr"] = spec.method.control.multipliers(steps)[step]  # type: ignore[attr-defined]
        optimizer.zero_grad()
        problem.loss(problem.model(inputs), targets).backward()
        optimizer.step()
        told.append(found_in(optimizer))
    return told


@pytest.mark.parametrize("text", FINDING)
def test_a_record_has_what_each_update_went_by(text: str) -> None:
    method = f"{text}:warmup(0.1)+cosine"
    record = train(spec_of(method))
    assert list(record.columns) == ["loss", "lr", "found"]
    assert record.column("found").dtype == np.float32
    assert record.column("found").tolist() == np.array(of_loop(method, 60), np.float32).tolist()
    rates = record.found_rates
    assert rates is not None
    assert rates == pytest.approx(record.column("lr").astype(float) * record.column("found"), rel=1e-12)


@pytest.mark.parametrize("text", NOT_FINDING)
def test_a_record_has_no_such_column_where_no_rate_is_found(text: str) -> None:
    record = train(spec_of(f"{text}:constant", base_lr=0.01, total_steps=5))
    assert list(record.columns) == ["loss", "lr"]
    assert record.growth is record.found_rates is None
    assert b"growth" not in record.summary()


def test_a_run_that_diverges_has_the_column_up_to_there() -> None:
    record = train(spec_of("mechanic(sgd):constant", base_lr=1e30))
    assert record.outcome is Outcome.DIVERGED
    assert len(record.column("found")) == len(record.column("loss")) == record.cost.steps
    assert Record.from_summary(*record.packed()).summary() == record.summary()


@pytest.mark.parametrize("text", ["prodigy", "ldog"])
def test_going_on_and_shared_beginnings_are_the_run_alone(text: str, tmp_path: Path) -> None:
    whole = spec_of(f"{text}:linear")
    alone = train(whole)
    first = train(spec_of(f"{text}:linear", stop_step=23, checkpoint=True), weights=tmp_path)
    rest = train(spec_of(f"{text}:linear", start=Start(first.id, 23)), weights=tmp_path)
    joined = first.column("found").tobytes() + rest.column("found").tobytes()
    assert joined == alone.column("found").tobytes()
    specs = [spec_of(f"{text}:wsd(cooldown={share})") for share in (0.2, 0.4)]
    together = {record.id: record for record in train_all(specs)}
    assert sum(record.cost.shared for record in together.values()) > 0
    for spec in specs:
        assert together[spec.id].column("found").tobytes() == train(spec).column("found").tobytes()
        assert together[spec.id].growth == train(spec).growth


@pytest.mark.parametrize("method", ["own:linear", "prodigy:linear"])
@pytest.mark.parametrize("rarely", [7, 1000])
def test_scripts_have_the_column_and_go_on_with_it(
    method: str, rarely: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrcontrol.training.steering.RARELY", rarely)
    told: list[float] = []

    def script(run: lrc.Run) -> None:
        model = nn.Linear(3, 1)
        own = method.startswith("own")
        optimizer = (
            run.steer(make_optimizer("prodigy", model.parameters())) if own else run.optimizer(model.parameters())
        )
        saved = run.restore()
        if saved is not None:
            optimizer.load_state_dict(saved["optimizer"])
            model.load_state_dict(saved["model"])
        while not run.should_stop:
            loss = update(model, optimizer)
            told.append(found_in(optimizer))
        run.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        run.log(val_loss=loss)

    given = {"method": method, "base_lr": 1.0}
    alone = carried(script, asked(**given))
    assert list(alone.columns) == ["lr", "found"]
    assert alone.column("found").tolist() == np.array(told, np.float32).tolist()
    assert len(set(told)) > 3
    first = carried(script, asked(**given, stop_step=13, checkpoint=True), tmp_path)
    rest = carried(script, asked(**given, start=Start(first.id, 13)), tmp_path)
    assert first.column("found").tobytes() + rest.column("found").tobytes() == alone.column("found").tobytes()
    assert alone.growth == growth_of(alone.columns, 0)


def test_a_script_whose_optimizer_finds_no_rate_has_no_such_column() -> None:
    assert list(carried(plain).columns) == ["loss", "lr"]


def test_processes_keep_it_in_the_store_and_exports_have_it(tmp_path: Path) -> None:
    """Beside a record that has no such column, as those of before have none."""
    methods, out = ["dog:linear", "adamw:linear"], tmp_path / "study"
    found = api.search("digits-softmax", "grid", methods=methods, base_lrs=[1.0], budget="2runs", out=out, workers=1)
    by_method = {str(record.spec.method): record for record in found.study.stages[0].records}
    alone = train(by_method["dog:linear"].spec)
    with Store(out / "runs.db", read_only=True) as store:
        kept, other = (store.record(by_method[each].id) for each in methods)
    assert kept.column("found").tobytes() == alone.column("found").tobytes()
    assert kept.growth == by_method["dog:linear"].growth == alone.growth
    assert "found" not in other.columns
    export(out / "runs.db", tmp_path / "columns.csv", "columns")
    rows = list(csv.DictReader((tmp_path / "columns.csv").read_text(encoding="utf-8").splitlines()))
    assert [np.float32(row["found"]) for row in rows if row["run"] == kept.id] == kept.column("found").tolist()
    assert {row["found"] for row in rows if row["run"] == other.id} == {""}
    parquet = pytest.importorskip("pyarrow.parquet")
    export(out / "runs.db", tmp_path / "columns.parquet", "columns")
    table = parquet.read_table(tmp_path / "columns.parquet").to_pylist()
    assert [row["found"] for row in table if row["run"] == kept.id] == kept.column("found").tolist()
    assert {row["found"] for row in table if row["run"] == other.id} == {None}


@pytest.mark.parametrize(
    ("found", "first", "wanted"),
    [
        ([1, 2, 4, 8], 0, 4.0),  # the second of four is halfway
        ([1, 2, 4, 8, 16], 0, 8.0),
        ([3], 0, 1.0),
        ([4, 8, 16, 32], 2, 8.0),  # the third of six
        ([4, 8], 6, 2.0),  # halfway was before
        ([0, 1], 0, None),
        ([1, math.nan], 0, None),
        ([1, math.inf], 0, None),
    ],
)
def test_growth_is_from_halfway_to_the_last_update(found: list[float], first: int, wanted: float | None) -> None:
    assert growth_of({"found": np.array(found, np.float32)}, first) == wanted
    assert growth_of({"lr": np.array(found, np.float32)}, first) is None


# ---- pages and the terminal ----


def told_record(method: str = "prodigy:linear", found: list[float] | None = None, **more: Any) -> Record:
    """A record of four updates at 1, 0.75, 0.5 and 0.25, and what was found in them."""
    spec = RunSpec(**{"task": "t", "method": method, "base_lr": 1.0, "total_steps": 4} | more.pop("spec", {}))
    columns = {"lr": np.array([1.0, 0.75, 0.5, 0.25], np.float32)[-spec.updates :]}
    if found is not None:
        columns["found"] = np.array(found, np.float32)
    objective = Objective("accuracy", "maximize")
    return Record(spec=spec, outcome=Outcome.FINISHED, objective=objective, columns=columns, **more)


def drawn(records: list[Record]) -> tuple[list[tuple[Any, ...]], str, str]:
    """The corners of the lines, the axis' title and its kind of scale."""
    chart = charts.rates(records, [chr(97 + place) for place in range(len(records))]).to_dict()
    rows = [row for each in chart["datasets"].values() for row in each if "joint" not in row]
    axis = chart["layer"][0]["encoding"]["y"]
    return (
        [(row["run"], row["step"], row["value"]) for row in rows],
        axis["title"],
        axis["scale"].get("type", "linear"),
    )


def test_what_was_found_times_what_was_in_force_is_drawn_and_the_axis_says_so() -> None:
    corners, title, scale = drawn([told_record(found=[0.25, 0.5, 0.5, 0.5])])
    assert corners == [("a", 0, 0.25), ("a", 1, 0.375), ("a", 2, 0.25), ("a", 3, 0.125)]
    assert (title, scale) == ("rate found by the optimizer (log scale)", "log")


def test_beside_rates_that_were_given_the_legend_says_which_was_found() -> None:
    given = told_record("adamw:constant", spec={"base_lr": 1e-3})
    corners, title, scale = drawn([told_record(found=[1e-6, 2e-3, 2e-3, 2e-3]), given])
    assert {run for run, *_ in corners} == {"a (rate found by the optimizer)", "b"}
    assert (title, scale) == ("learning rate (log scale)", "log")


def test_a_run_that_goes_on_is_drawn_from_where_it_began() -> None:
    spec = {"start": Start("0" * 20, 2)}
    corners, *_ = drawn([told_record(found=[0.5, 0.5], spec=spec)])
    assert corners == [("a", 2, 0.25), ("a", 3, 0.125)]


def test_the_sentence_tells_the_largest_and_the_last_rate() -> None:
    assert found_text(told_record(found=[1e-6, 4e-3, 4e-3, 4e-3])) == [
        "The rate that its optimizer found: 0.003 at its largest, 0.001 in the last update."
    ]
    record = told_record(found=[1.0, 4.0, math.inf, math.nan])
    assert largest_found(record) == 3.0
    found = rates_found(record)
    assert found is not None
    assert found.told == {"found_by": "optimizer", "smallest_found": 1.0, "largest_found": 3.0, "last_found": None}
    assert found_text(told_record()) == found_text(told_record(found=[math.nan] * 4)) == []
    for given in ("sgd:clip(cosine)", "sgd:stop_on_divergence(whole_cycles(sgdr))"):
        assert found_text(told_record(given)) == []
    for given in ("sgd:clip(plateau)", "sgd:max(cosine*plateau, 0.1)", "sgd:warmup(0.25)+greedy"):
        assert found_text(told_record(given)) == [
            "The rate that its control gave: 1 at its largest, 0.25 in the last update."
        ]


def test_the_page_of_a_study_tells_what_was_found(tmp_path: Path) -> None:
    found = api.search(
        "digits-softmax", "grid", methods=["dog:linear"], budget="1run", out=tmp_path, executor="serial"
    )
    chosen = found.study.chosen
    assert chosen is not None
    page = found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"multiplied by the schedule and by what was found: at most {largest_found(chosen):.3g}" in page
    (axis,) = {layer["encoding"]["y"]["title"] for layer in study_charts(found.study)["rates"].to_dict()["layer"]}
    assert axis == "rate found by the optimizer (log scale)"


def told_rates(told: dict[str, Any]) -> tuple[str, float, float, float]:
    return told["found_by"], told["smallest_found"], told["largest_found"], told["last_found"]


def test_train_tells_the_rate_that_was_found(run: Run) -> None:
    said = run("train", "digits-mlp", "prodigy:linear", "--steps", 60)
    rates = lrc.train("digits-mlp", "prodigy:linear", total_steps=60).found_rates
    assert rates is not None
    assert said.status == 0
    assert f"found: {rates.max():.3g} at its largest, {rates[-1]:.3g} in the last update." in said.out
    told = json.loads(run("train", "digits-mlp", "prodigy:linear", "--steps", 60, "--json").out)
    assert told_rates(told) == ("optimizer", rates.min(), rates.max(), rates[-1])
    plain_one = run("train", "digits-mlp", "adamw:linear", "--lr", "0.01", "--steps", 5, "--json")
    assert not {"found_by", "smallest_found", "largest_found", "last_found"} & json.loads(plain_one.out).keys()
    assert "found" not in run("train", "digits-mlp", "adamw:linear", "--lr", "0.01", "--steps", 5).out


# ---- races ----


def raced(method: str, growth: float | None, *, steps: int = 60, base_lr: float = 1.0, final: float = 0.5) -> Record:
    spec = RunSpec(task="t", method=method, base_lr=base_lr, total_steps=steps)
    objective = Objective("accuracy", "maximize")
    ended = (Evaluation(steps, {"accuracy": final}),)
    return Record(spec=spec, outcome=Outcome.FINISHED, objective=objective, evals=ended, growth=growth)


def stages_of(*short: Record) -> list[Stage]:
    kept = raced("adamw:cosine", None, final=0.9)
    full = raced("adamw:cosine", None, steps=600)
    return [Stage("race", 60, (kept, *short), frozenset({kept.id})), Stage("full runs", 600, (full,))]


def test_what_was_dropped_while_it_grew_is_told_with_what_to_do() -> None:
    (sentence,) = still_growing(stages_of(raced("dog:constant", 8.35), raced("sgd:constant", None)))
    assert sentence == (
        "Dropped while the rate that was found was still growing steeply: dog:constant at 1 after 60 updates (8.35 "
        "times what it was halfway); so short a run tells little of it: begin further out, as in "
        "dog(initial_distance=0.0001), give a larger budget, or train one in full with `lrcontrol train`."
    )


def test_only_what_more_than_doubled_and_was_dropped_is_told() -> None:
    assert still_growing(stages_of(raced("dog:constant", 2.0))) == []
    assert len(still_growing(stages_of(raced("dog:constant", 2.01)))) == 1
    grown = raced("dog:constant", 9.0)
    short, full = stages_of(grown)
    assert still_growing([Stage(short.name, 60, short.records, short.kept | {grown.id}), full]) == []
    assert still_growing([Stage(short.name, 60, short.records), full]) == []  # nobody was preferred to it
    assert still_growing([Stage("full runs", 600, short.records, short.kept)]) == []
    assert still_growing([]) == []


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("prodigy:linear", "prodigy(d0=0.0001)"),
        ("dadapt_sgd(momentum=0.5):linear", "dadapt_sgd(momentum=0.5, d0=0.0001)"),
        ("ldog:constant", "ldog(initial_distance=0.0001)"),
        ("mechanic(sgd):linear", "mechanic(sgd, initial_scale=0.0001)"),
        ("dowg:constant", None),
        ("dog(initial_distance=1e-4):constant", None),
    ],
)
def test_the_advice_is_an_optimizer_that_begins_further_out(method: str, advice: str | None) -> None:
    (sentence,) = still_growing(stages_of(raced(method, 5.0)))
    found = re.search(r"as in (.+?), give a larger budget, or", sentence)
    assert (found and found[1]) == advice
    if advice is not None:
        assert parse_method(f"{advice}:linear").optimizer != parse_method(method).optimizer


def test_of_many_the_first_are_named() -> None:
    (sentence,) = still_growing(stages_of(*(raced("dog:constant", 5.0, base_lr=each) for each in (1, 2, 3, 4, 5))))
    assert "dog:constant at 3 after 60 updates (5 times what it was halfway), 2 more; so short" in sentence


@pytest.mark.parametrize("verb", ["select", "search"])
def test_a_real_race_tells_that_dog_was_still_growing(verb: str, tmp_path: Path) -> None:
    """Over a ninth or a third of the run DoG has not come away from where it begins."""
    given = {"methods": ["dog:constant", "adamw:cosine", "adamw:linear"], "base_lrs": [1e-3, 1e-2]}
    call = lrc.select if verb == "select" else api.search
    made = call("digits-cnn", budget="3runs", out=tmp_path, executor="serial", **given)
    reasons = made.reasons if verb == "select" else made.study.reasons
    told = [each for each in reasons if each.startswith("Dropped while")]
    assert len(told) == 1
    assert re.search(r"dog:constant at 1 after \d+ updates \(\d", told[0])
    assert "as in dog(initial_distance=0.0001)" in told[0]


def test_the_rate_that_a_control_gave_is_told(run: Run, tmp_path: Path) -> None:
    for given in ("adamw:cosine*l4", "adamw:hypergradient"):
        said = run("train", "digits-mlp", given, "--lr", "0.001", "--steps", 60)
        rates = lrc.train("digits-mlp", given, base_lr=0.001, total_steps=60).column("lr")
        told = f"The rate that its control gave: {rates.max():.3g} at its largest, {rates[-1]:.3g} in the last update."
        assert told in " ".join(said.out.split())
        for_machines = run("train", "digits-mlp", given, "--lr", "0.001", "--steps", 60, "--json")
        assert told_rates(json.loads(for_machines.out)) == ("control", rates.min(), rates.max(), rates[-1])
    assert lrc.train("digits-mlp", "adamw:cosine*l4", total_steps=20).spec.base_lr == 0.001
    found = api.search(
        "digits-mlp", "grid", methods=["adamw:cosine*l4"], budget="1run", out=tmp_path, executor="serial"
    )
    page = found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"updates are tried at it; the rate was at most {largest_found(found.study.shown):.3g}" in page


def test_a_run_that_ended_while_what_was_found_was_growing_says_so(run: Run) -> None:
    said = " ".join(run("train", "digits-mlp", "dog:constant", "--steps", 60).out.split())
    assert "That was still growing steeply" in said
    assert "growing" not in run("train", "digits-mlp", "dog:constant", "--steps", 600).out


@pytest.mark.parametrize("verb", ["select", "search"])
def test_rates_that_are_for_nobody_are_told(verb: str, tmp_path: Path) -> None:
    call = lrc.select if verb == "select" else api.search
    given: dict[str, Any] = {"budget": "2runs", "out": tmp_path, "executor": "serial"}
    with pytest.warns(
        UserWarning,
        match=r"prodigy:linear finds the rate alone, so that the base learning rate that is given is for nobody; 1",
    ):
        call("diabetes-mlp", methods=["prodigy:linear"], base_lrs=[0.1], **given)
    several = (
        r"prodigy:linear and sgd:l4 find the .* rates that are given are for nobody; 1 and 0\.001, as is usual, are"
    )
    with pytest.warns(UserWarning, match=several):
        call("diabetes-mlp", methods=["prodigy:linear", "sgd:l4"], base_lrs=[0.1, 0.2], **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call("diabetes-mlp", methods=["prodigy:linear", "adamw:rex"], base_lrs=[0.1], **given)
        call("diabetes-mlp", methods=["prodigy:linear"], **given)


def test_a_rate_for_a_control_that_gives_it_is_for_nobody_in_one_run_too() -> None:
    """As in a selection; one that the rate matters to keeps what is given."""
    usual = lrc.train("digits-mlp", "sgd:l4", total_steps=20)
    with pytest.warns(UserWarning, match=r"sgd:l4 finds the rate alone, .* 0\.001, as is usual, is used") as told:
        given = lrc.train("digits-mlp", "sgd:l4", base_lr=0.1, total_steps=20)
    assert (given.spec, given.final) == (usual.spec, usual.final)
    assert [each.filename for each in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lrc.train("digits-mlp", "sgd:l4", base_lr=0.001, total_steps=20).spec == usual.spec
        assert lrc.train("digits-mlp", "sgd:hypergradient", base_lr=0.1, total_steps=20).spec.base_lr == 0.1
        assert lrc.train("digits-mlp", "prodigy:linear", base_lr=0.5, total_steps=20).spec.base_lr == 0.5
