"""Ctrl-C waits for what must not be half done, and loses nothing that has ended."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence

import pytest

from faults.samples import OBJECTIVE, record, spec
from faults.targets import answer
from lrcontrol.runs.executors.serial import Serial
from lrcontrol.runs.interrupts import finished_first
from lrcontrol.runs.record import Record
from lrcontrol.runs.spec import RunSpec


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_first_interrupt_waits_and_a_second_does_not() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), finished_first():  # noqa: PT012 - the block is what is tried
        interrupt()
        done.append(1)
    assert done == [1]
    with pytest.raises(KeyboardInterrupt), finished_first():  # noqa: PT012 - the block is what is tried
        interrupt()
        done.append(2)
        interrupt()
        done.append(3)
    assert done == [1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_is_not_hidden_by_an_interrupt() -> None:
    with pytest.raises(ValueError, match="first"), finished_first():  # noqa: PT012 - as above
        interrupt()
        raise ValueError("first")


def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    seen: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with finished_first():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert seen == [signal.SIGINT]

    def elsewhere() -> None:
        with finished_first():
            seen.append(0)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.SIGINT, 0]


def test_what_has_ended_is_returned_before_the_interrupt() -> None:
    def carry(specs: Sequence[RunSpec]) -> Iterator[Record]:
        for place, asked in enumerate(specs):
            if place == 2:
                raise KeyboardInterrupt
            yield answer(asked)

    executor = Serial(carry, OBJECTIVE, ahead=8, divide=lambda specs, *_: [list(specs)])
    for number in range(4):
        executor.submit(spec(number))
    assert [each.id for each in executor.wait()] == [record(number).id for number in range(2)]
    with pytest.raises(KeyboardInterrupt):
        executor.wait()
