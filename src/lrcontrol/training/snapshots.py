"""Snapshots of a user's own model at cycle ends, kept in a folder, and the ensemble of them."""

import contextlib
import hashlib
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrcontrol import checks
from lrcontrol.controls.control import Control
from lrcontrol.controls.text import control as parse_control
from lrcontrol.errors import BadInput, RecordError
from lrcontrol.files import write_whole
from lrcontrol.schedules.schedule import Schedule
from lrcontrol.training.ensembles import EnsembleModel, chosen_greedily, copied, ensemble_of, in_place, state_of
from lrcontrol.training.optimizers import recalibrate
from lrcontrol.training.own_losses import moved
from lrcontrol.training.tasks.combining import Combine, mean_of_chances, mean_of_outputs, mean_of_probabilities

__all__ = ["SnapshotEnsemble", "snapshots"]

FORMAT, VERSION = "lrcontrol/snapshots", 1
MANIFEST = "snapshots.json"
COMBINE: dict[str, Combine] = {
    "chances": mean_of_chances,
    "outputs": mean_of_outputs,
    "probabilities": mean_of_probabilities,
}
LOSSES: dict[Combine, Callable[[Tensor, Tensor], Tensor]] = {
    mean_of_chances: functional.binary_cross_entropy_with_logits,
    mean_of_outputs: functional.mse_loss,
    mean_of_probabilities: functional.cross_entropy,
}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot after `step` updates, and the SHA-256 of its file."""

    step: int
    sha256: str

    @property
    def name(self) -> str:
        """Of its file; what a name stands for never changes, so that the list of them is true at any time."""
        return f"snapshot-{self.step}-{self.sha256[:16]}.safetensors"


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the folder holds, which of it was chosen, and what of it was not taken at a cycle end."""

    format: str
    version: int
    files: tuple[_File, ...]
    members: tuple[int, ...] | None = None
    by_hand: tuple[int, ...] = ()


class SnapshotEnsemble:
    """Snapshots of a model, taken where cycles end, and what they predict together; made by `snapshots`.

    Attributes:
        ends: after which updates one is taken.
        updates: made so far, as it was told.
    """

    def __init__(self, model: nn.Module, ends: Collection[int], folder: Path | None, combine: Combine) -> None:
        self.ends, self.updates = tuple(sorted(ends)), 0
        self._model, self._folder, self._combine = model, folder, combine
        self._states: dict[int, dict[str, Tensor]] = {}
        self._files: dict[int, _File] = {}
        self._listed: set[str] = set()  # names of the files that the list names
        self._broken: set[int] = set()  # those with numbers that are not finite
        self._told = False  # of an update, by now
        self._chosen: tuple[int, ...] | None = None
        self._made: tuple[tuple[int, ...], EnsembleModel] | None = None
        if folder is not None:
            self._read(folder)

    @property
    def steps(self) -> tuple[int, ...]:
        """After how many updates there are snapshots."""
        return tuple(sorted(self._states))

    @property
    def members(self) -> tuple[int, ...]:
        """Those that predict: until `select` has chosen, all of which every number is finite."""
        return self._chosen or tuple(step for step in self.steps if step not in self._broken) or self.steps

    def step(self, made: int | None = None) -> bool:
        """Tell it of an update; where a cycle ends there, a snapshot is taken.

        Args:
            made: how many updates have been made; the `last_epoch` of a scheduler is that number, and leaves out
                those that a gradient scaler skips. By default one more than at the last call; a run that goes on from
                a checkpoint must tell it, once at least.
        Returns:
            Whether one was taken.
        Raises:
            BadInput: a cycle has ended since the last call, and its weights are gone.
        """
        before = self.updates
        now = before + 1 if made is None else checks.integer("made", made)
        missed = [end for end in self.ends if before < end < now] if self._told else []
        if missed:
            raise BadInput(
                f"`step` must be called where a cycle ends, but it went from {before} to {now} updates and missed "
                f"{_told(missed)}; call it after every update."
            )
        self.updates, self._told = now, True
        if now not in self.ends or (now == before and now in self._states):  # no update since it was taken
            return False
        self.take()
        return True

    def take(self) -> None:
        """Take a snapshot now, whatever the cycles; with a folder it is on disk when this returns.

        What was taken after more updates than now is of an earlier run, and is dropped.

        It is of the weights that the model has: with an optimizer that judges by others (schedule-free), take it
        inside `lrcontrol.training.optimizers.evaluation_weights`.
        """
        self._put({self.updates: state_of(self._model)})
        self._states = {step: state for step, state in self._states.items() if step <= self.updates}
        self._chosen = None
        self._write()

    def select(
        self,
        batches: Iterable[tuple[Any, Tensor]],
        metric: Callable[[Tensor, Tensor], Any],
        direction: Literal["minimize", "maximize"] = "minimize",
    ) -> tuple[int, ...]:
        """Choose the members whose predictions together are best on validation data; the choice is kept.

        Args:
            batches: of (inputs, targets), such as a loader of the validation set. Every snapshot predicts each once;
                the outputs of all are held in memory, on the processor.
            metric: of (outputs, targets) of all batches together, one number: a loss such as
                `torch.nn.functional.cross_entropy`, or a metric. What is equally good by it is told apart by its loss,
                that which goes with the way in which outputs are combined, where the targets are such.
            direction: which way it is better.
        Returns:
            The members, by the updates after which they were taken.
        Raises:
            BadInput: there is no snapshot yet, no batch, or none of the snapshots has a finite metric.
        Source:
            Caruana, Niculescu-Mizil, Crew, Ksikes 2004, Ensemble selection from libraries of models, ICML, section 2.
        """
        sign = {"minimize": 1.0, "maximize": -1.0}[checks.one_of("direction", direction, ("minimize", "maximize"))]
        outputs: dict[int, list[Tensor]] = {step: [] for step in self.steps}
        all_targets: list[Tensor] = []
        device = _device(self._model)
        with torch.no_grad():
            together = ensemble_of(self._model, self._some(self.steps), self._combine)
            for inputs, targets in batches:
                for step, model in zip(self.steps, together.models, strict=True):
                    outputs[step].append(model(moved(inputs, device)).cpu())
                all_targets.append(targets.cpu())
            if not all_targets:
                raise BadInput("`batches` must give batches of inputs and targets, got none.")
            whole, targets = {step: torch.cat(each) for step, each in outputs.items()}, torch.cat(all_targets)

            def key(members: tuple[int, ...]) -> tuple[float, float]:
                together = self._combine([whole[step] for step in members])
                return sign * float(metric(together, targets)), self._loss(together, targets)

            chosen = chosen_greedily(self.steps, key)
            if not math.isfinite(key(chosen)[0]):
                raise BadInput(
                    f"`metric` must be finite for one snapshot at least, got {key(chosen)[0]}; look at what the model "
                    "gives for these batches."
                )
        self._chosen = chosen
        self._write()
        return chosen

    def use(self, *steps: int) -> None:
        """Make these the members; without any, all of them."""
        for step in steps:
            if step not in self._states:
                raise BadInput(f"members must be snapshots there are, got {step}; there are {_told(self.steps)}.")
        self._chosen = tuple(sorted(set(steps))) or None
        self._write()

    def model(self) -> EnsembleModel:
        """The ensemble of the members as one module, in evaluation mode; each is a copy of the model.

        Raises:
            BadInput: there is no snapshot yet.
        """
        members = self.members
        if self._made is None or self._made[0] != members:
            self._made = (members, ensemble_of(self._model, self._some(members), self._combine))
        return self._made[1]

    @torch.no_grad()
    def predict(self, inputs: Any) -> Tensor:
        """What the members predict together for a batch of inputs, on the model's device."""
        outputs: Tensor = self.model()(moved(inputs, _device(self._model)))
        return outputs

    def recalibrate(self, batches: Iterable[Any]) -> None:
        """Take the statistics of batch normalisation anew, for every snapshot.

        A snapshot has the running statistics of its time, which is usually what is wanted. They lag behind where the
        last updates of a cycle moved the weights a good deal.

        Args:
            batches: of training, as `lrcontrol.training.optimizers.recalibrate` takes them; gone through once for each
                snapshot, so a list or a loader, no generator.
        Raises:
            BadInput: no batches. Then, and where this is interrupted, nothing changes.
        """
        found = {}
        for step in in_place(self._model, self._some(self.steps)):
            recalibrate(self._model, batches)
            found[step] = state_of(self._model)
        self._put(found)
        self._write()

    def __repr__(self) -> str:
        return f"<SnapshotEnsemble after {_told(self.steps)} updates, members {_told(self.members)}>"

    def _loss(self, outputs: Tensor, targets: Tensor) -> float:
        """What tells members apart that are equally good; 0 where there is nothing to tell them by."""
        loss = LOSSES.get(self._combine)
        if loss is functional.mse_loss and outputs.shape != targets.shape:  # it would be of every pair
            return 0.0
        try:
            value = 0.0 if loss is None else float(loss(outputs, targets))
        except (IndexError, RuntimeError, TypeError, ValueError):  # targets that the metric alone understands
            return 0.0
        return value if math.isfinite(value) else sys.float_info.max

    def _some(self, steps: tuple[int, ...]) -> dict[int, dict[str, Tensor]]:
        if not steps:
            raise BadInput(
                f"an ensemble needs a snapshot, and there is none yet; the first is due at {_told(self.ends[:1])}."
            )
        return {step: self._states[step] for step in steps}

    def _put(self, states: dict[int, dict[str, Tensor]]) -> None:
        """Have these states from now on, in files that the list does not name yet."""
        files = {}
        if self._folder is not None:
            for step, state in states.items():
                blob = safetensors.torch.save({name: value.contiguous() for name, value in state.items()})
                files[step] = _File(step, hashlib.sha256(blob).hexdigest())
                write_whole(self._folder / files[step].name, blob)
        self._have(states, files)

    def _have(self, states: dict[int, dict[str, Tensor]], files: dict[int, _File]) -> None:
        self._states, self._files, self._made = self._states | states, self._files | files, None
        trained = {name for name, _ in self._model.named_parameters(remove_duplicate=False)}
        self._broken -= states.keys()
        self._broken |= {step for step, state in states.items() if _is_broken(state, trained)}

    def _write(self) -> None:
        """Write the list of the files there are, and only then delete those that have left it."""
        if self._folder is None:
            return
        files = tuple(self._files[step] for step in self.steps)
        by_hand = tuple(step for step in self.steps if step not in self.ends)
        text = msgspec.json.encode(_Manifest(FORMAT, VERSION, files, self._chosen, by_hand))
        write_whole(self._folder / MANIFEST, text)
        listed = {file.name for file in files}
        for name in self._listed - listed:
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
        self._listed = listed

    def _read(self, folder: Path) -> None:
        """Read what an earlier run has left."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            there = next((each for each in (folder, *folder.parents) if os.path.isfile(each)), None)
            why = error.strerror if there is None else f"{there} is a file"
            raise BadInput(f"`folder` must be one that can be made, got {folder}: {why}; name another.") from None
        try:
            manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            raise RecordError(
                f"the list of snapshots {folder / MANIFEST} cannot be read: {checks.shown_error(error)}; delete it to "
                "begin anew."
            ) from None
        if (manifest.format, manifest.version) != (FORMAT, VERSION):
            raise RecordError(
                f"the list of snapshots {folder / MANIFEST} must be of format {FORMAT}, version {VERSION}, got "
                f"{checks.shown(manifest.format)}, version {manifest.version}; update lrcontrol."
            )
        others = [file.step for file in manifest.files if file.step not in {*self.ends, *manifest.by_hand}]
        if others and self.ends:
            raise BadInput(
                f"the folder {folder} holds snapshots of another run, after {_told(others)} updates, where no cycle "
                "of this one ends; name another folder."
            )
        files = {file.step: file for file in manifest.files}
        self._have({step: _state(folder / file.name, file, self._model) for step, file in files.items()}, files)
        self._listed, self._chosen = {file.name for file in manifest.files}, manifest.members


def snapshots(
    model: nn.Module,
    schedule: str | Schedule | Control | Collection[int],
    total_steps: int | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    combine: Literal["probabilities", "outputs", "chances"] | Combine = "probabilities",
) -> SnapshotEnsemble:
    """Snapshots of a model where the cycles of its schedule end, and their ensemble, in a loop of your own::

        ensemble = lrc.snapshots(model, "snapshot(5)", total_steps, folder="snapshots")
        for inputs, targets in batches:
            ...
            optimizer.step()
            scheduler.step()
            ensemble.step(scheduler.last_epoch)
        ensemble.select(validation_loader, torch.nn.functional.cross_entropy)
        outputs = ensemble.predict(inputs)

    Predictions are averaged, never weights: cycles end in basins of their own. A snapshot is on disk as soon as its
    cycle has ended, so that a run that is killed later has lost none; the same call finds them again.

    Args:
        model: is trained elsewhere; parameters and buffers are copied when a snapshot is taken.
        schedule: with cycles, or its text, or a control; or after which updates snapshots are taken.
        total_steps: >= 1; the horizon that the schedule is laid over.
        folder: of the snapshots; None keeps them in memory. Processes that train one model together may share it: what
            is found there later is what the last of them wrote.
        combine: `probabilities` for scores of classes along dimension 1, `chances` for scores of yes against no (their
            sigmoid is averaged), `outputs` for numbers; or a function of the outputs of all members.
    Raises:
        BadInput: no horizon, a model that cannot be copied or whose state holds what is no tensor, a folder that
            cannot be made, or one with snapshots of other cycles. DoesNotFit: no cycle is complete by then.
        RecordError: a file in the folder is damaged; the sentence names it.
    Source:
        Huang et al. 2017, arXiv:1704.00109.
    Example:
        >>> model = torch.nn.Linear(2, 3)
        >>> ensemble = snapshots(model, "snapshot(2)", 10)
        >>> [made for made in range(1, 11) if ensemble.step()]
        [5, 10]
        >>> ensemble.predict(torch.zeros(4, 2)).shape
        torch.Size([4, 3])
    """
    checks.instance("model", model, nn.Module, "a torch module")
    if folder is not None:
        checks.instance("folder", folder, str | os.PathLike, "the path of a folder, or None")
    state_of(copied(model))  # what no ensemble can be made of is told before anything is trained
    if isinstance(combine, str):
        combine = COMBINE[checks.one_of("way to combine", combine, COMBINE)]
    ends = _ends_of(schedule, total_steps)
    return SnapshotEnsemble(model, ends, None if folder is None else Path(folder), combine)


def _ends_of(given: Any, total_steps: int | None) -> tuple[int, ...]:
    if isinstance(given, Collection) and not isinstance(given, str | bytes):
        return tuple(sorted({checks.integer("schedule", each, low=1) for each in given}))
    total = checks.integer("total_steps", total_steps, low=1)
    made = parse_control(given)
    made.check_fits(total)
    ends = made.ends(total).over(total)
    if not ends:
        raise BadInput(
            f"a cycle of the schedule must be complete within the run, but {total} steps are not enough for the "
            "first; use shorter cycles, or more steps."
        )
    return ends


def _state(path: Path, file: _File, model: nn.Module) -> dict[str, Tensor]:
    """A snapshot from its file, if it is what was written and of this model."""
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"the snapshot {path} cannot be read: {error.strerror}; put it back, or delete {path.parent / MANIFEST} "
            "to begin anew."
        ) from None
    if hashlib.sha256(blob).hexdigest() != file.sha256:
        raise RecordError(
            f"the snapshot {path} is damaged: its SHA-256 is not that which was written; put it back from a copy, or "
            f"delete {path.parent / MANIFEST} to begin anew."
        )
    state: dict[str, Tensor] = safetensors.torch.load(blob)
    own = {name: value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != own:
        raise RecordError(
            f"the snapshot {path} must be of this model, but its tensors are others; name another folder."
        )
    return {name: value.to(_device(model)) for name, value in state.items()}


def _is_broken(state: dict[str, Tensor], trained: set[str]) -> bool:
    """Whether a parameter is not finite, or a buffer is NaN; a mask may well be infinite."""
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    return any(bool((~value.isfinite() if name in trained else value.isnan()).any()) for name, value in floats.items())


def _device(model: nn.Module) -> torch.device:
    return next((each.device for each in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _told(steps: Collection[int]) -> str:
    return ", ".join(map(str, steps)) or "none"
