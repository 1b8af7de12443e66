"""Calls that may neither fail nor hang the caller."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


class Bounded:
    """Makes calls in a thread of its own, one at a time, and waits only so long for each.

    The caller always waits while the thread works, so that nothing runs beside the stage. A call that raises is
    passed over; after one that does not return in time, no other is made.

    Attributes:
        problem: what went wrong first, or none.
        stuck: whether a call did not return.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.stuck = False
        self._calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[object]]] = SimpleQueue()
        threading.Thread(target=self._serve, name="tracking", daemon=True).start()

    def do(self, call: Callable[[], Result], seconds: float) -> Result | None:
        """The call's result, or none where it raised, did not return in time or was not made."""
        if self.stuck:
            return None
        # A queue for each call: the answer to one whose caller was interrupted is nobody else's.
        answers: SimpleQueue[object] = SimpleQueue()
        self._calls.put((call, answers))
        try:
            answer = answers.get(timeout=seconds)
        except Empty:
            self.stuck = True
            answer = TimeoutError(f"no answer within {seconds:g} s")
        if isinstance(answer, BaseException):
            lines = str(answer).strip().splitlines()
            self.problem = self.problem or (lines[0] if lines else type(answer).__name__)
            return None
        return answer  # type: ignore[return-value]

    def _serve(self) -> None:
        while True:
            call, answers = self._calls.get()
            try:
                answer = call()
            except BaseException as error:  # a library that calls sys.exit is no reason to stop either
                answer = error
            answers.put(answer)
