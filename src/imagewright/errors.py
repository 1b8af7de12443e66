"""Everything that a person can cause and put right, as one tree of exceptions.

An error says what is wrong and where in its first line, and what to do in its second. `imagewright.command` prints
the two lines and exits with 1; any other exception is a bug and shows its traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class ImagewrightError(Exception):
    """Something a person can put right.

    Args:
        problem: what is wrong, and where: a file, a key, a number beside its limit.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}"


class ConfigError(ImagewrightError):
    """A key, a value or a name in `config/` or in an override is wrong."""


class SourceError(ImagewrightError):
    """The raw data cannot be had: missing, incomplete, unsafe or not what its checksum says."""


class DataError(ImagewrightError):
    """The images, labels, masks or splits are not fit to train on or to judge by."""


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Say in a `DataError` which file it is about: what decodes content does not know its name."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{path}: {error.problem}", error.remedy) from error


class NoPictureError(DataError):
    """The content is no picture."""


class TooLargeError(DataError):
    """A picture has more pixels than are allowed."""


class ModelError(ImagewrightError):
    """A model, loss or optimizer cannot be built, or its weights do not fit."""


class EvidenceError(ImagewrightError):
    """Two records of the same fact disagree, so that a number could not be trusted."""


class GateError(ImagewrightError):
    """The exported model is beyond a limit of `config/gate/`."""


class PullError(ImagewrightError):
    """Recorded results cannot be brought back."""


class ReproduceError(ImagewrightError):
    """An experiment cannot be built again, or there is nothing to compare it with."""


class CardsError(ImagewrightError):
    """A job wants more GPUs than there are."""


class BrokenFileError(ImagewrightError):
    """A file that the workflow wrote is not what it wrote."""


class SupersededError(ImagewrightError):
    """A newer run has taken over this job's outputs; what this one made was thrown away."""


class ServeError(ImagewrightError):
    """There is nothing that could be served, or no place to serve it at."""


class PlanError(ImagewrightError):
    """What the workflow would run cannot be told."""


def first_line(error: Exception) -> str:
    """The first line of a library's own message, or the exception's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
