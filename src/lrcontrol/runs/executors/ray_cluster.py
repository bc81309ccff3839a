"""A connection to Ray: to a cluster that is there, or to one of this machine's that begins and ends with it."""

import contextlib
import importlib.util
import math
import os
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from lrcontrol import checks
from lrcontrol.errors import BadInput, ClusterLost
from lrcontrol.runs.executors.rooms import Room, sweep

__all__ = ["TOKEN", "Cluster", "check_address"]

GONE_SECONDS = 20  # of silence after which a cluster is given up; Ray itself ends the process after 60
OBJECT_STORE = 150 << 20  # bytes of shared memory that a cluster of this machine's sets aside
REACH_SECONDS = 5
TOKEN = secrets.token_hex(32)  # one a process: Ray reads it once
_ADDRESS = re.compile(r"(?P<host>[^:/\s]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")


def check_address(address: str | None) -> str | None:
    """`address` if it is one, or BadInput.

    Example:
        >>> check_address("10.0.0.5:6379")
        '10.0.0.5:6379'
    """
    if address is None or (isinstance(address, str) and (address == "auto" or _ADDRESS.fullmatch(address))):
        return address
    raise BadInput(
        f"`address` must be HOST:PORT of a Ray cluster that this machine is part of, or 'auto' for the one that was "
        f"started here, got address={checks.shown(address)}."
    )


class Cluster:
    """Ray, connected.

    Args:
        address: HOST:PORT, `auto`, or None: the Ray that this process is connected to, else one of its own.
        cpus: of a cluster of its own.
    Raises:
        BadInput: Ray is not installed or cannot be reached or started.
    """

    def __init__(self, address: str | None, cpus: float) -> None:
        if importlib.util.find_spec("ray") is None:
            raise BadInput("the ray executor needs Ray, which is not installed; install it with lrcontrol[ray].")
        self._environment: dict[str, str | None] = {}
        self._room: Room | None = None
        self._began = False
        self._set_environment(address)
        import ray

        self.ray: Any = ray
        connected = ray.is_initialized()
        if connected and address not in (None, "auto", self._gcs()):
            raise BadInput(f"this process is connected to Ray at {self._gcs()}, so `address` must be that or none.")
        if not connected:
            self._connect(address, cpus)
        self._node = ray.get_runtime_context().get_node_id()
        self._gone_since: float | None = None
        self.lost = False

    def _connect(self, address: str | None, cpus: float) -> None:
        if address not in (None, "auto"):
            _reach(str(address))
        options: dict[str, Any] = {"address": address}
        self._began = True
        if address is None:
            self._room = Room("lrc-ray-")
            options = {
                "address": "local",
                "num_cpus": math.ceil(cpus),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(self._room.path),
            }
        try:
            with _signals_kept():
                self.ray.init(**options, log_to_driver=False, logging_level="ERROR")
            # Ray prints what becomes of its workers on stdout, whatever it is told; that is for results.
            self.ray._private.worker._worker_logs_enabled = False
        except Exception as error:  # of many kinds, not all of them Ray's own
            self.close()
            if address is None:
                raise BadInput(f"Ray cannot be started on this machine: {checks.shown_error(error)}.") from error
            raise BadInput(
                f"`address` must be that of a Ray cluster which this machine is part of and whose token it has, got "
                f"{address} ({checks.shown_error(error)})."
            ) from error

    def _set_environment(self, address: str | None) -> None:
        """A token for a cluster of our own, no report on its use, and silence; put back at the end."""
        wanted = {"RAY_IGNORE_UNHANDLED_ERRORS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        if (
            address is None
        ):  # Ray would end the host of runs alone, which sees to it that all they began ends with them
            wanted["RAY_kill_child_processes_on_worker_exit"] = "0"
        if address is None and not any(os.environ.get(f"RAY_AUTH_{name}") for name in ("MODE", "TOKEN", "TOKEN_PATH")):
            wanted["RAY_AUTH_TOKEN"] = TOKEN
            if "ray" not in sys.modules:  # one that is loaded already has read the mode, and asks for tokens by itself
                wanted["RAY_AUTH_MODE"] = "token"
        for name, value in wanted.items():
            self._environment[name] = os.environ.get(name)
            os.environ[name] = value

    def _gcs(self) -> str:
        return str(self.ray.get_runtime_context().gcs_address)

    def slots(self, cpus: float, gpus: float, workers: int | None = None) -> int:
        """How many runs with so many processors and accelerators its machines have place for.

        Args:
            cpus: of a run.
            gpus: the same.
            workers: how many there are to be in any case, where the cluster may grow.
        Raises:
            BadInput: none; a cluster of this machine alone never grows.
        """
        if workers is not None and self._room is None:
            return workers
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        found = 0
        for node in nodes:
            fits = [node.get(name, 0.0) / asked for name, asked in (("CPU", cpus), ("GPU", gpus)) if asked > 0]
            found += math.floor(min(fits) + 1e-9)
        if found < 1:
            largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
            most = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
            whose, ask = "a machine of the cluster", "give `workers` if the cluster grows"
            if self._room is not None:
                whose, ask = "this machine", "ask for less, or name the address of a cluster that has more"
            raise BadInput(
                f"`num_cpus` and `num_gpus` of a run must be at most what {whose} has, got {cpus:g} "
                f"and {gpus:g}, where the most are {largest:g} and {most:g}; {ask}."
            )
        return found if workers is None else workers

    @property
    def silent(self) -> bool:
        """Whether it did not answer when it was last looked at; nothing new must be asked of it then."""
        return self._gone_since is not None

    def alive(self, node: str) -> bool:
        """Whether a machine is part of the cluster, as far as the cluster knows."""
        # Ray would wait for an answer of one that is gone until it ends the process.
        return self._speaks() and any(each["NodeID"] == node and each["Alive"] for each in self.ray.nodes())

    def check(self) -> None:
        """See that the cluster is there; to be called every second or so, whether or not runs answer.

        Raises:
            ClusterLost: it has not been for a while, or this machine is no longer part of it.
        """
        if self._speaks():
            self._gone_since = None
            if not self.alive(self._node):
                self._lose("this machine is no longer part of it")
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since > GONE_SECONDS:
            self._lose(f"nothing answers at {self._gcs()}")

    def _speaks(self) -> bool:
        host, _, port = self._gcs().rpartition(":")
        return _answers(host.strip("[]"), int(port), 2)

    def _lose(self, why: str) -> None:
        self.lost = True
        raise ClusterLost(
            f"the Ray cluster is gone: {why}; start one and give the same command again to go on where it was."
        )

    def close(self) -> None:
        """End what was begun here."""
        with contextlib.suppress(Exception):  # a cluster that is gone cannot be left in order
            if self._began:
                self.ray.shutdown()
                self.ray._private.worker._worker_logs_enabled = True
        if self._room is not None:
            self._room.close()
            sweep("lrcontrol-slot-")
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()


def _reach(address: str) -> None:
    """BadInput where nothing answers; Ray itself would try for minutes and then end the process."""
    found = _ADDRESS.fullmatch(address)
    if found is not None and not _answers(found["host"].strip("[]"), int(found["port"]), REACH_SECONDS):
        raise BadInput(f"`address` must be that of a Ray cluster, got {address}, where nothing answers.")


def _answers(host: str, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host, port), seconds).close()
    except (OSError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """What a signal does stays as it was; Ray would exit at SIGTERM in its own way."""
    try:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError):  # not in the main thread: then Ray has set none either
                signal.signal(number, handler)
