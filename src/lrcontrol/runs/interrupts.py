"""Ctrl-C and other signals that wait until what must not be half done is done."""

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from types import CodeType, FrameType
from typing import Any

__all__ = ["ASKING", "Held", "Interrupted", "finished_first"]

ASKING = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT")  # SIGINT last: it is given back last
    if hasattr(signal, name)
)
"""Signals by which people and machines ask a process to end, or to keep what it has."""


class Interrupted(KeyboardInterrupt):
    """A block is to end because a held signal asks for it; its handler is still to be called."""


class Held:
    """Signals that are noted while they are held, in the place of their handlers.

    The first one waits until `between` is called or they are let go. A second one raises Interrupted where the program
    is, so that what hangs can be ended, unless that is within one of `never`. Nothing is held in another thread than
    the main one, nor a signal that has no handler in Python.

    Args:
        numbers: of signals.
        never: code of functions that, with all that they call, are never interrupted.
    """

    def __init__(self, numbers: Collection[int] = ASKING, never: Collection[CodeType] = ()) -> None:
        self.noted: list[int] = []
        self._numbers, self._never = tuple(numbers), frozenset(never)
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def hold(self) -> None:
        """Take the place of the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._numbers:
            handler = signal.getsignal(number)
            if callable(handler):  # neither ignored, nor the system's, nor one of C
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def between(self) -> None:
        """Raise Interrupted if there was a signal; called where nothing is half done."""
        if self.noted:
            raise Interrupted

    def let_go(self) -> None:
        """Put the handlers back; one that somebody else has put there since is left."""
        self._let_go(list(self._handlers))

    def _let_go(self, numbers: list[int]) -> None:
        if not numbers:
            return
        try:  # a handler that is back may raise at once
            if signal.getsignal(numbers[0]) == self._note:
                signal.signal(numbers[0], self._handlers[numbers[0]])
        finally:
            self._let_go(numbers[1:])

    def deliver(self, error: BaseException | None) -> bool:
        """Call the handlers of the signals that were noted, once for each; after `let_go`.

        Python's own handler is called last, and once. An error that is on its way is not hidden by its interrupt.

        Args:
            error: what has ended the block, if anything has.
        Returns:
            Whether `error` was an Interrupted and all handlers are content, so that nothing need be raised.
        """
        noted, self.noted = self.noted, []
        plain = False
        for number in noted:
            if self._handlers[number] is signal.default_int_handler:
                plain = True
            else:
                self._handlers[number](number, None)
        ended = isinstance(error, Interrupted)
        if plain and (ended or error is None):
            raise KeyboardInterrupt from None
        return ended and bool(noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted.append(number)
        if len(self.noted) > 1 and not self._shielded(frame):
            raise Interrupted

    def _shielded(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code in self._never:
                return True
            frame = frame.f_back
        return False


@contextlib.contextmanager
def finished_first() -> Iterator[None]:
    """Put a first Ctrl-C off until the end of the block; a second one stops it at once.

    In another thread than the main one, or where somebody has a handler of his own, nothing is changed.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    held = Held((signal.SIGINT,))
    held.hold()
    try:
        yield
    finally:
        held.let_go()
    held.deliver(None)
