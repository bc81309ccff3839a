"""Runs on a Ray cluster: Ray says where and for how long; what a run does to its process is seen to there as here."""

import contextlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lrcontrol import checks
from lrcontrol.errors import BadInput, LRControlError
from lrcontrol.runs.executors import cargo, ray_slot
from lrcontrol.runs.executors.executor import check_room, check_running, failed
from lrcontrol.runs.executors.lots import Divide, Lots, by_beginnings
from lrcontrol.runs.executors.processes import cores
from lrcontrol.runs.executors.ray_cluster import Cluster, check_address
from lrcontrol.runs.record import Objective, Record
from lrcontrol.runs.spec import RunSpec

__all__ = ["RayExecutor"]

TICK_SECONDS = 1.0  # between two looks at a cluster that is silent
CROWDED_SECONDS = 60.0  # without a machine before it is said
SPARED = 10  # machines that may end under a run before that counts against the run itself
FALSE_STARTS = 3  # slots in a row that end before they have said a word
FAREWELL_SECONDS = 3.0


class _Slot:
    """One actor, and what it has been asked."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.asked: Any = actor.hello.remote()  # the answer to come, or None
        self.node = ""  # until it has said where it is
        self.lot: list[RunSpec] = []  # without those that have been answered
        self.since = time.monotonic()

    @property
    def free(self) -> bool:
        return self.asked is None and not self.lot


class RayExecutor:
    """An executor whose slots are actors of Ray, on whatever machines have place for them.

    A slot carries out lots as a worker of `Processes` does, each in a process of its own, with the same limits and the
    same retries, so that a run's record is the same here and there. Slots that die are replaced, here or on
    another machine, and what they had not answered is carried out again; an answer of a slot that was given up
    is never taken. This process alone writes: weights and checkpoints come to it as bytes and are checked.

    Args:
        target: as for `Processes`; the machines must have the same version of lrcontrol.
        objective: of the task, for records of runs that fail.
        address: HOST:PORT of a cluster that this machine is part of, `auto`, or None: the cluster that this process
            is connected to, else one of this machine alone, which ends with the executor.
        workers: >= 1; slots. By default as many as the cluster has place for; slots beyond that wait until it has.
        num_cpus: > 0; processors set aside for a run.
        num_gpus: >= 0; accelerators, or a part of one.
        options: keyword arguments for the function, as JSON values.
        files: Python files of the user's to load first; sent along with the Python files beside them.
        data: data files that the runs read, by `folder/name`; sent once to a machine that lacks them.
        ahead: >= 1; as for `Processes`.
        divide: as for `Processes`.
        seconds: as for `Processes`.
        memory: as for `Processes`.
        retries: >= 0; also how often a run is tried again whose slot died; where it died with its machine, ten times
            more.
        folder: of weights and checkpoints, here; or None, where no run keeps any.
    Raises:
        BadInput: a bad value; Ray is not installed, cannot be started or reached.
    """

    def __init__(
        self,
        target: str,
        objective: Objective,
        *,
        address: str | None = None,
        workers: int | None = None,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        options: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
        data: Mapping[str, Path] | None = None,
        ahead: int = 1,
        divide: Divide = by_beginnings,
        seconds: float | None = None,
        memory: int | None = None,
        retries: int = 1,
        folder: Path | None = None,
    ) -> None:
        self._target, self._objective, self._address = target, objective, check_address(address)
        asked = None if workers is None else checks.integer("workers", workers, low=1)
        self._cpus = checks.number("num_cpus", num_cpus, low=0, open_low=True)
        self._gpus = checks.number("num_gpus", num_gpus, low=0)
        self._ahead = checks.integer("ahead", ahead, low=1)
        self._retries = checks.integer("retries", retries)
        limits = {
            "seconds": None if seconds is None else checks.number("seconds", seconds, low=0, open_low=True),
            "memory": None if memory is None else checks.integer("memory", memory, low=1),
            "retries": self._retries,
        }
        self._folder, self._data = folder, cargo.weigh_data(data or {})
        codes = [cargo.code_of(file) for file in files]
        named = (target, msgspec.json.encode(objective), json.dumps(dict(options or {})), limits)
        self._arguments = (*named, codes, self._data, folder is not None)
        self._cpus_of_own = cores() if asked is None else asked * self._cpus
        self._cluster: Cluster | None = None
        self._slots: list[_Slot] = []
        self._attempts: dict[str, int] = {}
        self._spared: dict[str, int] = {}
        self._sent: dict[str, Any] = {}  # what Ray holds for us: data files, and checkpoints by the run's id
        self._false_starts = 0
        self._looked = time.monotonic()
        self._crowded = False
        try:
            found = self._here  # what is wrong with it is said now
            self.workers = found.slots(self._cpus, self._gpus, asked)
        except BadInput:
            self._leave()
            raise
        self._lots = Lots(divide, self.workers)

    @property
    def _here(self) -> Cluster:
        """The cluster, connected to when it is first needed."""
        if self._cluster is None:
            self._cluster = Cluster(self._address, self._cpus_of_own)
        return self._cluster

    @property
    def running(self) -> list[RunSpec]:
        """What the slots are at, and what waits."""
        return [spec for slot in self._slots for spec in slot.lot] + self._lots.waiting

    @property
    def room(self) -> int:
        """How many more may be taken on."""
        return self.workers * self._ahead - len(self.running)

    def submit(self, spec: RunSpec) -> None:
        """Take a run; with nothing to look ahead for it begins as soon as there is a slot."""
        check_room(self.room)
        self._lots.add(spec)
        if self._ahead == 1:
            self._fill()

    def wait(self) -> list[Record]:
        """The records that are there; a run that raised, died or took too much is FAILED, and its record says how.

        Raises:
            BadInput: the target cannot be imported, or a machine has another lrcontrol or lacks data.
            ClusterLost: Ray is gone; nothing that was recorded is.
        """
        check_running(self.running)
        ended: list[Record] = []
        while not ended:
            self._fill()
            for slot in self._ready():
                ended += self._heard(slot)
        for record in ended:
            self._lots.saw(record)
        starts = {spec.start.run for spec in self.running if spec.start is not None}
        self._sent = {name: each for name, each in self._sent.items() if name in starts or name in self._data}
        return ended

    def _fill(self) -> None:
        """Give every free slot a lot, and begin slots where more runs wait."""
        while self._lots.waiting:
            free = next((slot for slot in self._slots if slot.free), None)
            if free is None:
                break
            self._begin(free, self._lots.take())
        if self._here.silent:
            return
        starting = sum(not slot.node for slot in self._slots)
        for _ in range(min(self.workers - len(self._slots), len(self._lots.waiting) - starting)):
            self._slots.append(self._new_slot())

    def _new_slot(self) -> _Slot:
        kind = self._here.ray.remote(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_restarts=0,  # tries are counted here, so that nothing runs twice unseen
            max_task_retries=0,
            max_concurrency=2,  # so that one that is at work can be closed
        )(ray_slot.Slot)
        return _Slot(kind.remote(*self._arguments))

    def _begin(self, slot: _Slot, lot: list[RunSpec]) -> None:
        slot.lot, slot.since = lot, time.monotonic()
        starts = [self._start(run) for run in dict.fromkeys(spec.start.run for spec in lot if spec.start is not None)]
        slot.asked = slot.actor.next.remote([spec.to_json() for spec in lot], starts)

    def _start(self, run_id: str) -> Any:
        """A checkpoint as Ray holds it."""
        if run_id not in self._sent:
            found = {} if self._folder is None else cargo.read_start(self._folder, run_id)
            self._sent[run_id] = self._here.ray.put(found)
        return self._sent[run_id]

    def _file(self, name: str) -> Any:
        """A data file as Ray holds it."""
        if name not in self._sent:
            self._sent[name] = self._here.ray.put(Path(self._data[name][0]).read_bytes())
        return self._sent[name]

    def _ready(self) -> list[_Slot]:
        """Slots that have answered; none after a while. The cluster is looked at meanwhile."""
        if time.monotonic() - self._looked > TICK_SECONDS:
            self._here.check()
            self._looked = time.monotonic()
        asked = {slot.asked: slot for slot in self._slots if slot.asked is not None}
        if not asked:  # nothing is begun in a cluster that is silent
            time.sleep(TICK_SECONDS)
            return []
        ready, _ = self._here.ray.wait(list(asked), num_returns=1, timeout=TICK_SECONDS)
        if not ready:
            self._say_if_crowded()
            return []
        ready, _ = self._here.ray.wait(list(asked), num_returns=len(asked), timeout=0)
        return [asked[each] for each in ready]

    def _heard(self, slot: _Slot) -> list[Record]:
        """What a slot has to say, if it is records."""
        seconds = time.monotonic() - slot.since
        try:
            answer = self._here.ray.get(slot.asked)
        except self._here.ray.exceptions.RayError as error:
            # What only cannot be reached has, most likely, gone with its machine, which Ray knows some 10 s later.
            unreachable = isinstance(error, self._here.ray.exceptions.ActorUnavailableError)
            return self._lost(slot, checks.shown_error(error), seconds, unreachable=unreachable)
        if not slot.node:
            self._met(slot, *answer)
            return []
        kind, told = answer
        if kind == ray_slot.UNUSABLE:
            raise BadInput(told[0])
        if kind == ray_slot.LACKS:
            self._check_size(told)
            slot.asked = slot.actor.next.remote([], sent={name: self._file(name) for name in told})
            return []
        found = [Record.from_summary(summary, columns) for summary, columns, _ in told]
        ids = {record.id for record in found}
        slot.lot = [spec for spec in slot.lot if spec.id not in ids]
        slot.since = time.monotonic()
        slot.asked = slot.actor.next.remote([]) if slot.lot else None
        return [self._kept(record, files) for record, (_, _, files) in zip(found, told, strict=True)]

    def _met(self, slot: _Slot, versions: str, node: str) -> None:
        if versions != ray_slot.versions():
            raise BadInput(
                f"every machine of the cluster must have {ray_slot.versions()}, as this one has, got {versions}."
            )
        slot.node, slot.asked, self._false_starts = node, None, 0

    def _kept(self, record: Record, files: Mapping[str, bytes]) -> Record:
        """The record, with its files where they belong and the attempts of all its slots counted."""
        before = self._attempts.pop(record.id, 1) - 1
        self._spared.pop(record.id, None)
        if before:
            record = msgspec.structs.replace(record, attempt=before + record.attempt)
        if self._folder is None or not (record.weights or record.checkpoint):
            return record
        try:
            cargo.keep(record, files, self._folder)
        except LRControlError as error:
            return failed(record.spec, self._objective, str(error), record.cost.seconds, record.attempt)
        return record

    def _check_size(self, names: Sequence[str]) -> None:
        size = sum(self._data[name][1] for name in names)
        if size > cargo.LARGEST_DATA:
            raise BadInput(
                f"the data files {', '.join(sorted(names)[:3])} must be on every machine of the cluster: their {size} "
                f"bytes are more than the {cargo.LARGEST_DATA} that are sent; put them in a folder there and name it "
                f"in {cargo.DATA_FOLDER} before Ray is started."
            )

    def _lost(self, slot: _Slot, why: str, seconds: float, *, unreachable: bool = False) -> list[Record]:
        """Give up a slot that died or cannot be reached; what it had not answered is carried out again."""
        lot, slot.lot = slot.lot, []
        self._slots.remove(slot)
        self._end(slot)
        if len(lot) > 1:
            self._lots.alone(lot)
        elif lot and not self._again(lot[0], with_machine=unreachable or not self._here.alive(slot.node)):
            (spec,) = lot
            attempt = self._attempts.pop(spec.id, 1)
            tries = f" ({attempt} attempts)" if attempt > 1 else ""
            text = f"the Ray actor that hosts runs died: {why}{tries}"
            return [failed(spec, self._objective, text, seconds, attempt)]
        self._here.check()
        if not slot.node:
            self._false_starts += 1
            if self._false_starts >= FALSE_STARTS:
                raise BadInput(
                    f"every machine of the cluster must be able to load {ray_slot.versions()}, got {FALSE_STARTS} "
                    f"slots in a row that ended before they said a word ({why})."
                )
        return []

    def _again(self, spec: RunSpec, *, with_machine: bool) -> bool:
        """Whether a run whose slot died is tried once more."""
        attempt, spared = self._attempts.get(spec.id, 1), self._spared.get(spec.id, 0)
        with_machine = with_machine and spared < SPARED
        if (attempt - spared > self._retries and not with_machine) or not self._lots.alone([spec]):
            return False
        self._spared[spec.id] = spared + with_machine
        self._attempts[spec.id] = attempt + 1
        return True

    def _end(self, slot: _Slot) -> None:
        with contextlib.suppress(Exception):  # whatever Ray has to say of an actor that is dead already
            self._here.ray.kill(slot.actor)

    def _say_if_crowded(self) -> None:
        """Warn once where no machine has had place for so long."""
        waited = min((time.monotonic() - slot.since for slot in self._slots if not slot.node), default=0.0)
        if waited > CROWDED_SECONDS and not self._crowded and not any(slot.node for slot in self._slots):
            self._crowded = True
            warnings.warn(
                f"no machine of the Ray cluster has had num_cpus={self._cpus:g} and num_gpus={self._gpus:g} free for "
                f"{CROWDED_SECONDS:g} s; the runs wait until one has.",
                stacklevel=3,
            )

    def withdraw(self) -> None:
        """Give up the runs that no slot has begun, also of lots that break later."""
        self._lots.withdraw()

    def close(self) -> None:
        """End all slots with what they are at, and a cluster that began with this executor."""
        self._leave()
        self._lots.clear()
        self._attempts.clear()
        self._spared.clear()
        self._sent.clear()

    def _leave(self) -> None:
        cluster, self._cluster = self._cluster, None
        slots, self._slots = self._slots, []
        if cluster is None:
            return
        if not cluster.lost:
            with contextlib.suppress(Exception):  # as above
                farewells = [slot.actor.close.remote() for slot in slots if slot.node]
                if farewells:
                    cluster.ray.wait(farewells, num_returns=len(farewells), timeout=FAREWELL_SECONDS)
            for slot in slots:
                with contextlib.suppress(Exception):
                    cluster.ray.kill(slot.actor)
        cluster.close()
