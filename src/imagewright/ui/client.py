"""What the page asks the API, and what comes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from imagewright.config.tensors import InputConfig
from imagewright.errors import DataError, ImagewrightError, first_line
from imagewright.imaging import load_mask_values

DEFAULT = "http://127.0.0.1:8000"
DEFAULT_PORT = 8000
ANSWER_S = 60.0
HEALTH_S = 5.0
REMEDIES = {
    401: "start the page with the right key in IMAGEWRIGHT_API_KEY",
    408: "try again",
    413: "choose a smaller picture",
    415: "choose a file that is a picture",
    422: "choose another picture",
    429: "wait, then try again",
    503: "wait, then try again",
    504: "wait, then try again",
}
Read = TypeVar("Read")


class ApiError(ImagewrightError):
    """The API does not answer, or answers with a problem."""


@dataclass(frozen=True)
class Served:
    """What the API serves.

    Attributes:
        bundle: its id.
        experiment: its name; None where no gate has judged the model.
        runtime: what answers.
        task: "classification" or "segmentation".
        classes: keys, in the order of the model's outputs.
        names: what to show for each class.
        input: the form in which the model sees a picture.
        max_pixels: of a picture.
        metric: the name of the metric that counts; None without one.
        interval: its value on test, and the ends of its interval.
        n: how many pictures or groups it was measured on.
    """

    bundle: str
    experiment: str | None
    runtime: str
    task: str
    classes: list[str]
    names: list[str]
    input: InputConfig
    max_pixels: int
    metric: str | None
    interval: tuple[float, float, float] | None
    n: int | None


@dataclass(frozen=True)
class Answer:
    """What the model says of a picture.

    Attributes:
        probabilities: of each class (classification), else None.
        mask: class indices, height × width of the model's input, uint8 (segmentation), else None.
        seconds: from the question to the answer.
    """

    probabilities: NDArray[np.float64] | None
    mask: NDArray[np.uint8] | None
    seconds: float


class Api:
    """The API at an address.

    Args:
        url: of the API.
        key: what it wants to know callers by, if it does.
    """

    def __init__(self, url: str = DEFAULT, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"X-API-Key": key} if key else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(ANSWER_S, connect=HEALTH_S))

    @property
    def start(self) -> str:
        """The command that starts it."""
        try:
            port = httpx.URL(self.url).port or DEFAULT_PORT
        except httpx.InvalidURL:
            port = DEFAULT_PORT
        return "imagewright serve results/bundle/digits" + (f" --port {port}" if port != DEFAULT_PORT else "")

    def bundle(self) -> str:
        """The id of the bundle that is served now.

        Raises:
            ApiError: nothing answers, or something else.
        """
        response = self._ask("GET", "/health", timeout=HEALTH_S)
        return self._read(lambda: str(response.json()["bundle"]))

    def served(self) -> Served:
        """What is served.

        Raises:
            ApiError: there is a problem.
        """
        response = self._ask("GET", "/metadata")
        return self._read(lambda: _served(response.json()))

    def predict(self, served: Served, name: str, content: bytes) -> Answer:
        """Ask about one picture.

        Args:
            served: decides what form the answer has.
            name: of the file.
            content: its bytes.

        Raises:
            ApiError: there is a problem, for example with the picture.
        """
        labels = served.task == "classification"
        started = time.perf_counter()
        response = self._ask(
            "POST", "/predict", params={"as": "json" if labels else "png"}, files={"file": (name, content)}
        )
        seconds = time.perf_counter() - started
        if labels:
            return self._read(lambda: Answer(_probabilities(response.json(), served), None, seconds))
        return self._read(lambda: Answer(None, _mask(response.content, served), seconds))

    def _ask(self, method: str, path: str, **about: Any) -> httpx.Response:
        try:
            response = self._client.request(method, self.url + path, **about)
        # A key with letters that no header can have is a ValueError.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ApiError(
                f"the backend at {self.url} does not answer ({first_line(error)})", f"start it: {self.start}"
            ) from error
        if response.is_success:
            return response
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{self.url}{path} answered with {response.status_code} {response.reason_phrase}"
        raise ApiError(detail, REMEDIES.get(response.status_code, "look at what the backend has printed"))

    def _read(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except (KeyError, TypeError, ValueError, IndexError, DataError) as error:
            raise ApiError(
                f"{self.url} answers, but not as Imagewright's API does", "set IMAGEWRIGHT_API to the API's address"
            ) from error


def _served(body: dict[str, Any]) -> Served:
    metric = body["primary_metric"]
    value = (body["metrics"] or {}).get(metric)
    return Served(
        bundle=body["bundle"],
        experiment=body["experiment"],
        runtime=body["runtime"],
        task=body["task"],
        classes=list(body["classes"]),
        names=list(body["names"]),
        input=InputConfig(**body["input"]),
        max_pixels=int(body["max_pixels"]),
        metric=metric,
        interval=(value["value"], value["low"], value["high"]) if value else None,
        n=body["n"],
    )


def _probabilities(body: dict[str, Any], served: Served) -> NDArray[np.float64]:
    given = body["predictions"][0]["probabilities"]
    return np.array([given[key] for key in served.classes], np.float64)


def _mask(content: bytes, served: Served) -> NDArray[np.uint8]:
    values = load_mask_values(content)
    if values.max() >= len(served.classes):
        raise ValueError("there are more classes in the mask than in the model")
    return values.astype(np.uint8)
