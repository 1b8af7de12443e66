"""The API: what is asked, and what answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from imagewright.config.serve import ServeConfig
from imagewright.errors import DataError, NoPictureError, ServeError, TooLargeError
from imagewright.features import image_features
from imagewright.serve import answers, problems
from imagewright.serve.batching import Answer, Batcher, Full, Refused
from imagewright.serve.envelope import Counters, Envelope
from imagewright.serve.guard import Guard
from imagewright.serve.intake import MB, Upload, read_uploads
from imagewright.serve.model import Model, Served
from imagewright.serve.openapi import RESPONSES, describe, predict_request
from imagewright.serve.predictions import PredictionLog
from imagewright.serve.problems import Problem

PATHS = frozenset({"/predict", "/health", "/metadata", "/metrics", "/openapi.json"})
AT_ONCE = 8
"""Requests of the largest size that may be read at the same time."""
REFUSED = {
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NoPictureError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    DataError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""What is wrong with a picture, the narrower kinds first."""


@dataclass(frozen=True)
class _Told:
    """What is said of a picture: its label (of masks: the largest class), the prediction, a PNG, and its features."""

    label: str
    said: dict[str, Any]
    drawn: bytes | None
    features: dict[str, float]


def create_app(served: Served, config: ServeConfig) -> FastAPI:
    """Make the application; the model is loaded when it starts.

    Args:
        served: the model.
        config: its limits.

    Raises:
        ConfigError: the runtime does not take the model.
        ServeError: the log of predictions cannot be written.
    """
    served = replace(served, max_pixels=int(min(served.max_pixels, config.max_megapixels * 1_000_000)))
    model, guard, counters = Model(served, config.threads), Guard(config.rate_limit), Counters()
    log = None
    if config.log_predictions:
        log = PredictionLog(config.log_predictions, config.log_images, config.log_waiting_mb * MB)
    # The pictures of one request fit at least.
    batcher = Batcher(served, model, config.workers, config.max_batch, max(config.queue, config.max_images))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # What `protocol` needs where a request does not come as far as here.
        yield {"bundle": served.id, "timeout_s": config.timeout_s}
        await asyncio.to_thread(batcher.close)
        if log and not await asyncio.to_thread(log.close, config.shutdown_s):
            app.state.failed = ServeError(
                f"records of predictions could not be written to {config.log_predictions}", "they are lost"
            )

    app = FastAPI(
        title="Imagewright", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.failed = None
    app.state.batcher = batcher
    app.add_exception_handler(Problem, problems.on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=config.allowed_origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "X-API-Key"],
            expose_headers=["Retry-After", "X-Bundle-Id", "X-Request-Id"],
        )  # fmt: skip
    most = AT_ONCE * config.max_request_mb * MB
    app.add_middleware(Envelope, counters=counters, bundle=served.id, paths=PATHS, most=most)

    @app.get("/health", summary="Whether the server lives and is ready", responses=RESPONSES)
    async def health() -> dict[str, Any]:
        return {"status": "ok", "live": True, "ready": True, "bundle": served.id, "runtime": served.runtime}

    # Load balancers ask so.
    app.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)

    @app.get("/metadata", summary="What is served", responses=RESPONSES)
    async def metadata(request: Request) -> dict[str, Any]:
        guard.check(request)
        return {
            "bundle": served.id,
            "runtime": served.runtime,
            "task": served.task,
            "classes": served.classes,
            "names": served.names,
            "input": served.input.to_dict(),
            "max_pixels": served.max_pixels,
            "limits": {name: getattr(config, name) for name in ("max_request_mb", "max_image_mb", "max_images")},
            **served.about,
        }

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        counters.waiting.set(batcher.waiting)
        return Response(generate_latest(counters.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post(
        "/predict", summary="Ask the model", responses=RESPONSES, openapi_extra=predict_request(config.max_images)
    )
    async def predict(
        request: Request,
        as_: Annotated[
            Literal["json", "png", "overlay"], Query(alias="as", description="Segmentation: the form of the answer.")
        ] = "json",
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to list.")] = answers.TOP,
        threshold: Annotated[float | None, Query(ge=0, le=1, description="Below it, the answer is unsure.")] = None,
    ) -> Any:
        guard.check(request)
        if as_ != "json" and served.task == "classification":
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this model gives labels, which come as JSON alone")
        if log and log.full:
            raise problems.busy("predictions cannot be recorded at the moment; ask again")
        uploads = await read_uploads(request, config)
        if as_ != "json" and len(uploads) > 1:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"one picture at a time as {as_}; several come as JSON")
        tell = partial(_tell, served, [upload.name for upload in uploads], as_, top, threshold, log is not None)
        started = time.perf_counter()
        told = await _ask(batcher, uploads, tell, config.timeout_s)
        milliseconds = round((time.perf_counter() - started) * 1000, 3)
        for upload, one in zip(uploads, told, strict=True):
            counters.predictions.labels(one.label).inc()
            if log:
                log.append(_record(request, served, upload, one, milliseconds), upload.content)
        if told[0].drawn is not None:
            return Response(told[0].drawn, media_type="image/png")
        said = {"bundle": served.id, "runtime": served.runtime, "ms": milliseconds}
        # FastAPI would look through all of it once more for what is no JSON.
        return JSONResponse(said | {"predictions": [one.said for one in told]})

    describe(app, served)
    return app


def _tell(
    served: Served,
    names: list[str],
    form: Literal["json", "png", "overlay"],
    top: int,
    threshold: float | None,
    described: bool,
    position: int,
    one: Answer,
) -> _Told:
    if served.task == "classification":
        said = answers.of_class(served, one, names[position], top, threshold)
        label = said["label"]
    else:
        said = answers.of_mask(served, one, names[position])
        label = max(said["areas"], key=said["areas"].get)
    drawn = {"json": lambda _: None, "png": answers.mask_png, "overlay": answers.overlay_png}[form](one)
    return _Told(label, said, drawn, image_features(one.image) if described else {})


async def _ask(
    batcher: Batcher, uploads: list[Upload], tell: Callable[[int, Answer], _Told], timeout_s: float
) -> list[_Told]:
    asked = asyncio.ensure_future(batcher.answer([upload.content for upload in uploads], tell))
    # Where nobody waits any longer, nobody looks at what went wrong either.
    asked.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        # What was accepted goes its way through the runtime, whoever still waits.
        return await asyncio.wait_for(asyncio.shield(asked), timeout_s)
    except Full:
        raise problems.busy("too many pictures wait already; ask again") from None
    except TimeoutError:
        raise Problem(HTTPStatus.GATEWAY_TIMEOUT, f"there was no answer within {timeout_s:g} s; ask again") from None
    except Refused as refused:
        for kind, status in REFUSED.items():
            if isinstance(refused.__cause__, kind):
                raise Problem(status, refused.__cause__.problem, file=uploads[refused.position].name) from None
        raise (refused.__cause__ or refused) from None


def _record(request: Request, served: Served, upload: Upload, told: _Told, milliseconds: float) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request": request.scope["state"]["request_id"],
        "bundle": served.id,
        "bytes": len(upload.content),
        "features": told.features,
        "prediction": {name: told.said[name] for name in ("label", "areas", "confidence") if name in told.said},
        "ms": milliseconds,
    }


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problems.answer(Problem(HTTPStatus(error.status_code), str(error.detail), dict(error.headers or {})))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problems.answer(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}"))
