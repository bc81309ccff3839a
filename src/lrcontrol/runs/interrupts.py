"""Ctrl-C that waits until what must not be half done is done."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["finished_first"]


@contextlib.contextmanager
def finished_first() -> Iterator[None]:
    """Put a first Ctrl-C off until the end of the block; a second one stops it at once.

    In another thread than the main one, or where somebody has a handler of his own, nothing is changed.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
