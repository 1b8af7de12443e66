"""From the bytes of a picture to its probabilities, off the event loop: decoders, a bounded queue, one runtime.

Pictures that wait at the same moment go through the runtime together. Nobody waits for a batch to fill.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagewright.imaging import load_image
from imagewright.serve.model import Model, Served


class Full(Exception):
    """Too many pictures wait already."""


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
    image: NDArray[np.uint8]
    answer: "Future[NDArray[np.float32]]"


class Batcher:
    """Takes pictures and gives answers; `close` lets it finish what it has accepted.

    Args:
        served: the form of pictures.
        model: the runtime.
        decoders: pictures decoded at the same time.
        max_batch: most pictures in a step.
        most: most pictures that are accepted and not yet answered.
    """

    def __init__(self, served: Served, model: Model, decoders: int, max_batch: int, most: int) -> None:
        self._served, self._model, self._max_batch, self._most = served, model, max_batch, most
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._accepted = 0
        self._lock = threading.Lock()
        self._runner = threading.Thread(target=self._run, name="runtime")
        self._runner.start()

    @property
    def waiting(self) -> int:
        """Pictures that were accepted and are not yet answered."""
        return self._accepted

    async def answer(self, contents: Sequence[bytes]) -> list[Answer]:
        """Decode pictures and ask the model.

        Raises:
            Full: there is no room for all of them.
            DataError: one of them is no picture, broken or too large.
        """
        with self._lock:
            if self._accepted + len(contents) > self._most:
                raise Full
            self._accepted += len(contents)
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(self._decoders, self._decode, content) for content in contents]
        # All of them come to an end, also where one is refused, before anybody is told.
        found = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for error in found if isinstance(error, BaseException)]
        answers: list[Answer] = []
        for waiting in found:
            if isinstance(waiting, _Waiting):
                answers.append(Answer(waiting.image, await asyncio.wrap_future(waiting.answer)))
        if errors:
            raise errors[0]
        return answers

    def close(self) -> None:
        """Answer what was accepted, then end."""
        self._decoders.shutdown()
        self._queue.put(None)
        self._runner.join()

    def _decode(self, content: bytes) -> _Waiting:
        try:
            image = load_image(content, self._served.input, self._served.max_pixels)
        except BaseException:
            self._done(1)
            raise
        waiting = _Waiting(image, Future())
        self._queue.put(waiting)
        return waiting

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, over = [first], False
            while len(batch) < self._max_batch and not over:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                over = more is None
                if more is not None:
                    batch.append(more)
            self._step(batch)
            if over:
                return

    def _step(self, batch: list[_Waiting]) -> None:
        try:
            probabilities = self._model.answer(np.stack([waiting.image for waiting in batch]))
        except Exception as error:  # whatever the runtime raises, those who wait are told
            for waiting in batch:
                waiting.answer.set_exception(error)
        else:
            for waiting, answer in zip(batch, probabilities, strict=True):
                waiting.answer.set_result(answer)
        self._done(len(batch))

    def _done(self, count: int) -> None:
        with self._lock:
            self._accepted -= count
