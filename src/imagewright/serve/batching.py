"""From the bytes of a picture to what is said of it, off the event loop: a bounded queue, and workers that empty it.

Pictures that wait at the same moment go through the runtime together. Nobody waits for a batch to fill.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagewright.imaging import load_image
from imagewright.serve.model import Model, Served

Told = TypeVar("Told")


class Full(Exception):
    """Too many pictures wait already."""


class Refused(Exception):
    """One of the pictures cannot be answered; its `__cause__` says why.

    Args:
        position: of the picture among those of its request.
    """

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


@dataclass(frozen=True)
class Answer:
    """What came of one picture.

    Attributes:
        image: as the model saw it, height × width × channels, uint8.
        probabilities: classes (classification) or height × width × classes, float32.
    """

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    content: bytes
    tell: Callable[[Answer], Any]
    told: "asyncio.Future[Any]"


class Batcher:
    """Takes pictures and gives answers; `close` lets it finish what it has accepted.

    Args:
        served: the form of pictures.
        model: the runtime.
        workers: threads that each decode a few pictures, ask the model, and tell.
        max_batch: most pictures in a step.
        most: most pictures that are accepted and not yet answered.
    """

    def __init__(self, served: Served, model: Model, workers: int, max_batch: int, most: int) -> None:
        self._served, self._model, self._max_batch, self._most = served, model, max_batch, most
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._accepted = 0
        self._lock = threading.Lock()
        self._workers = [threading.Thread(target=self._run, name=f"worker-{number}") for number in range(workers)]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """Pictures that were accepted and are not yet answered."""
        return self._accepted

    async def answer(self, contents: Sequence[bytes], tell: Callable[[int, Answer], Told]) -> list[Told]:
        """Decode pictures and ask the model.

        Args:
            contents: of the pictures' files.
            tell: what to make of the answer to the picture at a position, off the event loop as well.

        Raises:
            Full: there is no room for all of them.
            Refused: one of them is no picture, broken or too large; or the runtime failed.
        """
        with self._lock:
            if self._accepted + len(contents) > self._most:
                raise Full
            self._accepted += len(contents)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in contents]
        for position, (content, future) in enumerate(zip(contents, futures, strict=True)):
            self._queue.put(_Waiting(content, partial(tell, position), future))
        # All of them come to an end, also where one is refused, before anybody is told.
        found = await asyncio.gather(*futures, return_exceptions=True)
        told: list[Told] = []
        for position, result in enumerate(found):
            if isinstance(result, BaseException):
                raise Refused(position) from result
            told.append(result)
        return told

    def close(self) -> None:
        """Answer what was accepted, then end."""
        for _ in self._workers:
            self._queue.put(None)
        for worker in self._workers:
            worker.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            # The other workers get their share of what waits.
            for _ in range(min(self._max_batch - 1, self._queue.qsize() // len(self._workers))):
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._queue.put(None)
                    break
                batch.append(more)
            self._step(batch)

    def _step(self, batch: list[_Waiting]) -> None:
        found = self._answered(batch)
        with self._lock:
            self._accepted -= len(batch)

        def deliver() -> None:
            for one, told in zip(batch, found, strict=True):
                if one.told.done():
                    continue  # the server is ending, and nobody waits any longer
                if isinstance(told, Exception):
                    one.told.set_exception(told)
                else:
                    one.told.set_result(told)

        # The event loop is woken once for all of them.
        batch[0].told.get_loop().call_soon_threadsafe(deliver)

    def _answered(self, batch: list[_Waiting]) -> list[Any]:
        """What is told of each, or an exception."""
        form, most = self._served.input, self._served.max_pixels
        found = [_tried(load_image, one.content, form, most) for one in batch]
        decoded = [position for position, image in enumerate(found) if not isinstance(image, Exception)]
        if not decoded:
            return found
        images = [found[position] for position in decoded]
        answers = _tried(self._model.answer, np.stack(images))
        for number, position in enumerate(decoded):
            if isinstance(answers, Exception):
                found[position] = answers
            else:
                found[position] = _tried(batch[position].tell, Answer(images[number], answers[number]))
        return found


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it gives or raises: whatever that is, those who wait are told."""
    try:
        return function(*arguments)
    except Exception as error:
        # The frames that it went through would keep a large picture until somebody looks for garbage.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
