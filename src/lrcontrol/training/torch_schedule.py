"""The torch LRScheduler that follows a schedule or control: a function of how far the run has come."""

import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, Unpack

from torch.optim import Optimizer

from lrcontrol import checks
from lrcontrol.controls.control import AHEAD
from lrcontrol.errors import BadInput, OutOfSchedule
from lrcontrol.schedules.horizon import Horizon, horizon
from lrcontrol.training.closed import Loop, Told, one_number
from lrcontrol.training.course import Change, Rule
from lrcontrol.training.groups import Groups, known, left_over, own_bases
from lrcontrol.training.halves import Halves, halves_of, mean_loss
from lrcontrol.training.meters import Meter, meter
from lrcontrol.training.optimizers.evaluation import forgotten
from lrcontrol.training.plan import Plan
from lrcontrol.training.readings import Readings
from lrcontrol.training.states import FORMAT, MISMATCHES, VERSION, OnMismatch, agreed, read_state, with_bases
from lrcontrol.training.updates import Updates, hooked

__all__ = ["TorchSchedule", "schedule_on"]


_IDLE_CALLS = 1000  # of `step()` without any update, after which something must be wrong


class TorchSchedule(Readings):
    """See `as_torch_scheduler`. The state is JSON values and loads with `weights_only=True`.

    Attributes:
        optimizer: the one given.
        last_epoch: updates made, which is torch's name for it.
    """

    _rest: Iterator[float] | None  # multipliers to come, where there is nothing else to set
    _seen: list[dict[str, Any]] | None  # groups whose rates are floats, as they were last looked at
    _last: dict[str, Any] | None  # of them
    _floats: list[tuple[dict[str, Any], float]]  # each of them, and its base rate
    _idle_at: int  # updates made, since which nothing happened in `_idle` calls
    _idle: int
    _halves: Halves | None  # of updates that a control looks at
    _batch_loss: float | None  # of the next update, where it was told
    _ended = False  # whether it was said that an update was made after the end

    # torch's constructor would patch optimizer.step, read `initial_lr` back and take a first step: not called.
    def __init__(
        self,
        optimizer: Optimizer,
        source: Plan | Loop,
        *,
        base_lrs: Sequence[float] | None = None,
        base_weight_decays: Sequence[float] | None = None,
        beyond: Literal["hold", "raise"] = "hold",
        count: Literal["updates", "calls"] = "updates",
        steps_per_epoch: int | None = None,
        per_step: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_mismatch: OnMismatch = "raise",
    ) -> None:
        checks.instance("optimizer", optimizer, Optimizer, "a torch optimizer")
        self.optimizer, self._source = optimizer, source
        self.beyond = checks.one_of("rule past the end", beyond, ("hold", "raise"))
        self.count = checks.one_of("way to count", count, ("updates", "calls"))
        checks.one_of("rule for another state", on_mismatch, MISMATCHES)
        checks.instance("clock", clock, Callable, "a function that returns seconds")
        self.on_mismatch: OnMismatch = on_mismatch
        self._sizes = {"steps_per_epoch": steps_per_epoch, "per_step": per_step}
        first = schedule_on(optimizer)
        if first is not None:
            raise BadInput(
                f"an optimizer must have one schedule, but this one has {first}; "
                "join them in one, as in 'warmup(0.1)+rex', or delete the first."
            )
        self._doubt = None if base_lrs is not None else left_over(optimizer)
        self._given = base_lrs
        self._groups = Groups(
            optimizer,
            own_bases("lr", optimizer) if base_lrs is None else base_lrs,
            None if source.settings.weight_decay is None else base_weight_decays,
        )
        self._groups.prepare(optimizer, source.settings)
        self._doubt = self._doubt or self._groups.idle_decays
        self._meter: Meter | None = meter(source.horizon, clock)
        self.last_epoch, self._extra_count = 0, 1
        self._attach()
        self._groups.write(optimizer, source.settings)

    @property
    def stop(self) -> str | None:
        """Why the control says that training should end now, or None; a schedule never says so."""
        return self._source.decision.stop if isinstance(self._source, Loop) else None

    @property
    def keep(self) -> bool:
        """Whether the control says that the weights as they are now are the ones to keep, until it says so again."""
        return isinstance(self._source, Loop) and self._source.decision.keep

    def step(self, epoch: float | None = None, **told: Unpack[Told]) -> None:
        """Set what is in force during the next update, if one was made since; call after `optimizer.step()`.

        Args:
            epoch: for a schedule, the number of updates made, to jump there. For a control that needs to be told
                something, the metric.
            told: by name, what a horizon or control needs: `amount`, samples or tokens since the last call; `metrics`,
                the validation metric of the weights as they are now, told with their update or after it; `loss`, the
                batch loss of the update; `grad_norm`, the L2 norm of its gradient before clipping. What nobody needs
                is not looked at.
        Raises:
            BadInput: what a control or horizon needs is not given, or a jump where none can be made. Nothing changes.
            OutOfSchedule: past the end, with `beyond="raise"`.
        """
        rest = self._rest
        if rest is None or epoch is not None or told:
            self._step(epoch, told)
            return
        # The usual step, written out: it is a few look-ups, and calls would cost more than what they do.
        updates = self._updates
        if not updates.made:
            self._wait()
            return
        multiplier = next(rest, None)
        if multiplier is None:
            multiplier = self._turn_to(self.last_epoch + 1)
        updates.made = self._always
        self.last_epoch += 1
        groups = self.optimizer.param_groups
        if groups is self._seen and groups[-1] is self._last and type(groups[0]["lr"]) is float:
            for group, base in self._floats:
                group["lr"] = base * multiplier
        else:
            self._write_rates(multiplier)

    def tell(self, *unnamed: Any, loss: Any = None, **others: Any) -> None:
        """Tell the loss of the batch whose update comes next: for controls that need it before `optimizer.step()`.

        Args:
            loss: one number, or a tensor of one; the last that is told counts. Over the processes of torch.distributed
                its mean is taken.
            unnamed: none.
            others: none; all else is told to `step`.
        Raises:
            BadInput: it is not one number, or something else is told.
        Example:
            >>> import torch
            >>> from lrcontrol import as_torch_scheduler
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> optimizer = torch.optim.SGD([weight], lr=10.0)
            >>> scheduler = as_torch_scheduler(optimizer, "polyak", 100)
            >>> loss = (weight**2).sum()
            >>> loss.backward()
            >>> scheduler.tell(loss=loss)
            >>> optimizer.step()  # at (1 - 0) / (0.5 * 2**2)
            >>> scheduler.step()
            >>> weight.item()
            0.0
        """
        if unnamed or others:
            got = ", ".join(
                [*map(checks.shown, unnamed), *(f"{name}={checks.shown(others[name])}" for name in others)]
            )
            raise BadInput(
                f"`tell` takes the loss of the next update's batch by its name, got {got}; call tell(loss=loss), and "
                "step(...) with all else."
            )
        self._batch_loss = one_number("loss", loss)

    def _write_rates(self, multiplier: float) -> None:
        """Write tensors, or groups not seen before; where all are floats, the next step does it itself."""
        self._groups.changed(self.optimizer)
        rates = self._groups.lrs
        rates.write(self.optimizer, multiplier)
        if not rates.stacks:
            self._seen, self._floats = self.optimizer.param_groups, rates.floats
            self._last = self._seen[-1]

    def _step(self, epoch: float | None, told: Told) -> None:
        """`step` where it does not simply count on."""
        for name in told:
            checks.one_of("value of step()", name, Told.__annotations__)
        source, counter = self._source, self._meter
        if isinstance(source, Loop) and source.control.needs and epoch is not None:
            if "metrics" in told:
                raise BadInput(f"the metric must be given once, got {epoch!r} and metrics={told['metrics']!r}.")
            told = {**told, "metrics": epoch}
            epoch = None
        self._be_sure()
        if epoch is not None:
            if isinstance(epoch, float) and not epoch.is_integer():
                raise BadInput(
                    f"`epoch` must be an integer >= 0, as {source} needs no metric, got epoch={epoch!r}; call step(), "
                    "or step(int) to jump."
                )
            self._jump(checks.integer("epoch", epoch))
            return
        amount = told.get("amount")
        if counter is None and amount is not None:
            raise BadInput(f"a horizon in steps takes no `amount`, got {checks.shown(amount)}; leave it out.")
        made = bool(self._updates.made)
        if made and self._ticks >= self.horizon.ticks and (isinstance(source, Plan) or self.beyond == "raise"):
            self._past_the_end()
        if isinstance(source, Loop):
            if "loss" in told and "loss" in source.control.needs:
                told = {**told, "loss": mean_loss(one_number("loss", told["loss"]), self.optimizer)}
            source.hear(told)
            forgot = forgotten(self.optimizer) if "metrics" in told else None
            if forgot is not None:
                warnings.warn(forgot, stacklevel=3)
        if counter is not None:
            counter.told(amount)
        if not made:
            if isinstance(source, Loop) and source.decided_anew():
                self._groups.write(self.optimizer, source.settings)
            self._wait()
            return
        following = self.last_epoch + 1
        if isinstance(source, Loop):
            if self._halves is not None:
                self._halves.check_looked(source)
            settings = source.next(self.last_epoch)
        else:
            settings = source.at(following if counter is None else counter.read(following))
        self._updates.made = self._always
        self.last_epoch = following
        self._groups.write(self.optimizer, settings)

    def _jump(self, epoch: int) -> None:
        source = self._source
        if epoch != self.last_epoch:  # else all is written anew, and groups that were added join
            if isinstance(source, Loop) or self._meter is not None:
                raise BadInput(
                    f"only a schedule over steps can be jumped in, got epoch={epoch}; "
                    "call step() after every update, and load a state to go on from one."
                )
            if epoch > source.horizon.ticks and self.beyond == "raise":
                self._past_the_end()
            source.at(epoch)  # what is wrong there is known before anything changes
            self._updates.made = self._always
            self.last_epoch = epoch
        self._go_on(source)

    def _turn_to(self, following: int) -> float:
        """The multiplier of a step, those after it at hand."""
        assert isinstance(self._source, Plan)  # noqa: S101 - only those have blocks
        total = self._source.horizon.ticks
        if following > total:
            self._past_the_end()
        first, block = self._source.block(following)
        past = total + 1 - first if following <= total else None  # the step after the end comes here again
        self._rest = islice(block, following - first + 1, past)
        return block[following - first]

    def extend(self, to: int | str | Horizon, rule: Rule = "rescale") -> None:
        """Let the run be longer from now on; what is in force now does not change.

        Curves are read between their steps; levels, joints and restarts are moved, and nothing is put between them.

        Args:
            to: the new horizon, of the whole run.
            rule: `rescale` stretches the rest of the curve over the new rest; `hold` holds the level of now for the
                added steps and then goes on as planned; `keep` goes on as planned and then stays at the end's value.
        Raises:
            BadInput: `to` is not longer or of another unit, or a control is at work.

        Example:
            >>> import torch
            >>> from lrcontrol import as_torch_scheduler
            >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            >>> scheduler = as_torch_scheduler(optimizer, "linear", 4, count="calls")
            >>> scheduler.step()
            >>> scheduler.extend(7)
            >>> scheduler.step()
            >>> scheduler.get_last_lr()
            [0.625]
        """
        self._change(to, rule, longer=True)

    def shorten(self, to: int | str | Horizon, rule: Rule = "rescale") -> None:
        """Let the run be shorter from now on; what is in force now does not change.

        Args:
            to: the new horizon, of the whole run; more than what is already made.
            rule: `rescale` shrinks the rest of the curve into the new rest; `keep` goes on as planned and ends early.
        Raises:
            BadInput: `to` is not shorter, not above what is made or of another unit, or a control is at work.
        """
        self._change(to, rule, longer=False)

    def _change(self, to: int | str | Horizon, rule: Rule, *, longer: bool) -> None:
        source = self._source
        if isinstance(source, Loop):
            raise BadInput(f"only the horizon of a schedule can change, got {source}; a control was told its own.")
        given = horizon(to)
        of = {"epochs": "steps_per_epoch", "samples": "per_step", "tokens": "per_step"}.get(given.unit, "")
        total = given.resolved(**({of: self._sizes[of]} if of else {}))
        if self._ticks >= source.horizon.ticks and rule != "keep":
            raise BadInput(
                f"all of {source.horizon} has been made, and nothing is left to {rule}; lay a new schedule over what "
                "is to come: del this one and build another, with base_lrs=scheduler.base_lrs."
            )
        if total.unit != source.first.unit:
            raise BadInput(f"a horizon keeps its unit, and this one is {source.horizon}, got {given}.")
        if (total.ticks > source.horizon.ticks) is not longer or total.ticks == source.horizon.ticks:
            name, other = ("extend", "longer") if longer else ("shorten", "shorter")
            raise BadInput(f"`{name}` needs a {other} horizon than the present {source.horizon}, got {given}.")
        self._go_on(source.changed(Change(self._ticks, total.ticks, rule)))

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values: schedules, horizon and its changes, updates made, bases."""
        self._admit()
        source, counter = self._source, self._meter
        return {
            "format": FORMAT,
            "version": VERSION,
            "plan": source.state() if isinstance(source, Plan) else None,
            "control": source.state() if isinstance(source, Loop) else None,
            "beyond": self.beyond,
            "step": self.last_epoch,
            "updated": self.count == "updates" and bool(self._updates.made),
            "ticks": self._ticks,
            "told": self._ticks if counter is None else counter.told_ticks,
            **self._groups.state(decays=isinstance(source, Loop) or source.weight_decay is not None),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where the state was saved and set what was in force; nothing changes where it does not fit.

        Raises:
            BadInput: the state is of another schedule, horizon, control or number of groups, or no state of ours.
        """
        state = read_state(state_dict)
        self._admit()
        state = with_bases(state, self._given, self.on_mismatch)
        source = agreed(self._source, state, self.on_mismatch)
        halves = self._halves_of(source)
        self._groups = self._groups.restored(self.optimizer, source.settings, state)
        known(self.optimizer, self._groups)
        self.last_epoch, self._extra_count, self._doubt = state["step"], 1, None
        if self._meter is not None:
            self._meter.restart(state["ticks"], state["told"])
        self._updates.made = self._always or state["updated"]
        self._be_shown(halves, looked=state["updated"])
        if halves is not None:
            halves.goes_on = bool(state["step"] or state["updated"])
        self._go_on(source)

    def _go_on(self, source: Plan | Loop) -> None:
        """Follow `source` from where the run is."""
        self._source = source
        self._groups.changed(self.optimizer)
        self._groups.prepare(self.optimizer, source.settings)
        self._set_pace()
        self._groups.write(self.optimizer, self._settings)

    def look_again(self) -> None:
        """Be ready for the next step after all attributes were put back to what they were; nothing is written."""
        self._set_pace()

    def _past_the_end(self) -> None:
        """Raise, or say once that an update was made after the end."""
        if self.beyond == "raise":
            raise OutOfSchedule(f"the schedule ends at {self.horizon}, and all of it has been made.")
        if not self._ended:
            self._ended = True
            warnings.warn(
                f"an update was made after the end of {self.horizon}: what is in force at the end stays in force; "
                "extend() the horizon, give a longer one, or beyond='raise' to stop there.",
                stacklevel=4,
            )

    def _wait(self) -> None:
        """Nothing was updated since the last call: say so where it goes on like that."""
        if self._idle_at != self.last_epoch:
            self._idle_at, self._idle = self.last_epoch, 0
        self._idle += 1
        if self._idle == _IDLE_CALLS:
            warnings.warn(
                f"step() was called {_IDLE_CALLS} times without an update of its optimizer that could be seen; "
                'call it after optimizer.step(), or build with count="calls" for a simulation or a captured graph.',
                stacklevel=3,
            )

    def _attach(self) -> None:
        """Listen to the optimizer's updates, and be known as its schedule."""
        if schedule_on(self.optimizer) is not None:
            raise BadInput("an optimizer must have one schedule, but a copy would be another; deepcopy both together.")
        _ON[self.optimizer] = weakref.ref(self)
        known(self.optimizer, self._groups)
        self._always = self.count == "calls"
        halves = self._halves_of(self._source)
        self._updates = Updates() if self._always else hooked(self.optimizer, self, self._about_to_update)
        self._be_shown(halves)
        self._updates.made = self._always
        self._idle_at, self._idle = 0, 0
        self._set_pace()

    def _halves_of(self, source: Plan | Loop) -> Halves | None:
        """What shows updates to the control of `source`, or BadInput where it needs that and there is nothing."""
        if not isinstance(source, Loop):
            return None
        if not self._always:
            return halves_of(self.optimizer, source, "call tell(loss=loss) before optimizer.step()")
        if source.control.needs & AHEAD or source.clips:
            raise BadInput(f'{source.name} looks at every update, so it needs count="updates", got count="calls".')
        return None

    def _be_shown(self, halves: Halves | None, *, looked: bool = False) -> None:
        """Show updates from now on so, or not at all; one may have been made and `looked` at."""
        self._halves, self._batch_loss = halves, None
        if halves is not None:
            halves.looked = looked
        self._updates.after = None if halves is None else weakref.WeakMethod(self._has_updated)

    def _admit(self) -> None:
        """Let groups that were added or put in the place of others join, before they are updated."""
        if self._groups.changed(self.optimizer):
            self._go_on(self._source)

    def _about_to_update(self) -> bool:
        """Whether the update that is about to be made is one."""
        self._admit()
        self._be_sure()
        rate = self.optimizer.param_groups[0]["lr"]
        counts = (type(rate) is float and rate != 0) or not self._groups.idle(self.optimizer, self.multiplier)
        if counts and isinstance(self._source, Loop) and self._halves is not None:
            loss, self._batch_loss = self._batch_loss, None
            self._halves.before(self._source, self._groups, loss, closure=self._updates.closure)
        return counts

    def _has_updated(self) -> None:
        """Note what the update that was made has come to."""
        if isinstance(self._source, Loop) and self._halves is not None:
            self._halves.after(self._source, self._groups)

    def _be_sure(self) -> None:
        """Tell of a doubt about the base rates, once; a state that was loaded has settled it."""
        if self._doubt is not None:
            warnings.warn(self._doubt, stacklevel=4)
            self._doubt = None

    def _initial_step(self) -> None:  # torch's containers begin with it
        raise BadInput(
            "a schedule of lrcontrol cannot stand in torch's SequentialLR; join schedules in their text, as in "
            "'warmup(100)+cosine'."
        )

    def _set_pace(self) -> None:
        """Prepare the usual step: rates alone, over steps."""
        plan = self._source if isinstance(self._source, Plan) else None
        plain = plan is not None and self._meter is None and plan.momentum is None and plan.weight_decay is None
        self._rest = iter(()) if plain else None
        self._seen, self._last, self._floats = None, None, []
        if plain and self.last_epoch <= self.horizon.ticks:
            self._turn_to(self.last_epoch)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("_updates", "_rest", "_seen", "_last", "_floats", "_halves"):  # made anew by `_attach`
            del state[name]
        return state | {"updated": bool(self._updates.made)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = state.pop("updated")
        vars(self).update(state)
        self._attach()
        self._updates.made = made
        self._be_shown(self._halves, looked=made)


_ON: "weakref.WeakKeyDictionary[Optimizer, weakref.ref[TorchSchedule]]" = weakref.WeakKeyDictionary()
"""The schedule that is on an optimizer, while both live."""


def schedule_on(optimizer: Optimizer) -> TorchSchedule | None:
    """The schedule of ours that is on an optimizer, if there is one."""
    return _ON.get(optimizer, lambda: None)()
