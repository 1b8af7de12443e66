"""What each user of the load test does: send a picture, look at every part of the answer, send the next one.

`loadtest.py` starts it once for each number of users, in a process of its own, since gevent changes all of Python that
it shares one with. IMAGEWRIGHT_LOADTEST names the folder with `plan.json` and the pictures; `outcome.json` goes there.
"""

import itertools
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.exception import StopUser

FOLDER = Path(os.environ["IMAGEWRIGHT_LOADTEST"])
KEY = os.environ.get("IMAGEWRIGHT_API_KEY")
ANSWER_S = 15.0
"""More than the server itself takes before it says 504."""
BACK_OFF_S = 1.0
"""What the server's Retry-After says."""
SUM = 1e-3
SHOWN, EXAMPLES = 120, 3
OK, UNAVAILABLE = 200, 503


@dataclass
class Outcome:
    """What came of all requests.

    Attributes:
        asked: requests that were begun.
        refused: those that were told to come again.
        times_ms: of each right answer.
        failures: all others, by what was wrong.
        examples: the first of them.
        different: for each runtime and picture, the most decisions in which an answer was not what was evaluated.
        differing: for each such picture, how many answers there were.
        began_s: when the first request was sent; on the clock of `ended_s`.
        ended_s: when the last right answer came.
        over: whether the time is up.
    """

    asked: int = 0
    refused: int = 0
    times_ms: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    different: dict[str, dict[str, int]] = field(default_factory=dict)
    differing: Counter[str] = field(default_factory=Counter)
    began_s: float = 0.0
    ended_s: float = 0.0
    over: bool = False


PLAN = json.loads((FOLDER / "plan.json").read_text())
CONTENTS = {picture["name"]: (FOLDER / picture["name"]).read_bytes() for picture in PLAN["pictures"]}
TURNS = itertools.cycle(PLAN["pictures"])
OUTCOME = Outcome()


def differing(body: Any, picture: dict[str, Any]) -> int:
    """How many decisions of an answer are not those that were evaluated: one label, or pixels.

    Of masks, the areas are known, so this is the least number of pixels. Pixels whose truth is ignored are in the
    answer and not in what was evaluated; so only what a class lacks is counted, never what it has beyond.

    Raises:
        ValueError: it is no answer to this picture from this bundle.
        KeyError, TypeError, AttributeError: it has another form.
    """
    labels = PLAN["task"] == "classification"
    [prediction] = body["predictions"]
    shares = prediction["probabilities" if labels else "areas"]
    checks = {
        "the bundle": body["bundle"] == PLAN["id"],
        "the runtime": body["runtime"] in PLAN["runtimes"],
        "the file": prediction["file"] == picture["name"],
        "the classes": set(shares) == set(PLAN["classes"]),
        "a number": all(0 <= share <= 1 for share in (*shares.values(), prediction["confidence"])),
        "the sum": math.isclose(sum(shares.values()), 1, abs_tol=SUM),
        "the time": math.isfinite(body["ms"]),
    }
    if labels:
        checks["the label"] = shares[prediction["label"]] == prediction["confidence"] == max(shares.values())
    else:
        checks["the size"] = [prediction["height"], prediction["width"]] == PLAN["size"]
    if wrong := [what for what, right in checks.items() if not right]:
        raise ValueError(f"{', '.join(wrong)} cannot be right")
    if labels:
        return int(prediction["label"] != picture["expected"])
    pixels = math.prod(PLAN["size"])
    return sum(max(0, count - round(shares[name] * pixels)) for name, count in picture["expected"].items())


def judge(answer: Any, picture: dict[str, Any]) -> None:
    """Note how long a right answer took, and the decisions in it that differ.

    Raises:
        OSError: there is none.
        ValueError: it is not right.
    """
    if not answer.status_code:
        raise answer.error
    text = " ".join((answer.content or b"").decode(errors="replace").split())[:SHOWN]
    if answer.status_code != OK:
        raise ValueError(f"status {answer.status_code}: {text}")
    try:
        body = json.loads(answer.content)
        count = differing(body, picture)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no prediction ({type(error).__name__}: {error}): {text}") from None
    if count:
        known = OUTCOME.different.setdefault(body["runtime"], {})
        known[picture["name"]] = max(count, known.get(picture["name"], 0))
        OUTCOME.differing[picture["name"]] += 1
    OUTCOME.times_ms.append(answer.request_meta["response_time"])
    OUTCOME.ended_s = time.monotonic()


class Sender(FastHttpUser):
    """Sends one picture after another, and waits for each answer."""

    network_timeout = connection_timeout = ANSWER_S
    default_headers = {"X-API-Key": KEY} if KEY else None

    @task
    def predict(self) -> None:
        """Send the next picture; where there is no answer to it, wait a little, as people's programs should."""
        # Locust ends a user between two requests, but one of them may have begun until it gets there.
        if OUTCOME.over:
            raise StopUser
        picture = next(TURNS)
        files = {"file": (picture["name"], CONTENTS[picture["name"]])}
        OUTCOME.began_s = OUTCOME.began_s or time.monotonic()
        OUTCOME.asked += 1
        try:
            with self.client.post("/predict", files=files, catch_response=True) as answer:
                if answer.status_code != UNAVAILABLE or "Retry-After" not in answer.headers:
                    judge(answer, picture)
                    return
                answer.success()
                OUTCOME.refused += 1
        except Exception as error:  # whatever it was, it was no right answer
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            OUTCOME.failures[reason] += 1
            if OUTCOME.failures[reason] == 1 and len(OUTCOME.examples) < EXAMPLES:
                OUTCOME.examples.append(f"{picture['path']}: {reason}")
        gevent.sleep(BACK_OFF_S)


@events.test_stopping.add_listener
def end(**_: Any) -> None:
    """Begin no more; what was begun has time for its answer."""
    OUTCOME.over = True


@events.quitting.add_listener
def write(**_: Any) -> None:
    """Write down what came of it, once nobody asks any longer."""
    (FOLDER / "outcome.json").write_text(json.dumps(vars(OUTCOME)))
