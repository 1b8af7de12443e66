"""The pictures of a request: counted and measured while they arrive, before anything looks into them."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from imagewright.config.serve import ServeConfig
from imagewright.serve.problems import Problem

MB = 1_000_000
FIELDS = ("file", "data")
CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1")


@dataclass(frozen=True)
class Upload:
    """A picture as it came: the name that the client gave it, and its bytes."""

    name: str
    content: bytes


class _Encoded(BaseModel):
    model_config = ConfigDict(extra="forbid")
    b64: str


class _Instance(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: _Encoded


class _Instances(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instances: list[_Instance]


async def read_uploads(request: Request, config: ServeConfig) -> list[Upload]:
    """Read the pictures of a request: multipart fields `file` or `data`, or base64 in JSON.

    Raises:
        Problem: too large, too many, too slow, of another kind, or none at all.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(config.timeout_s):
            if kind == "multipart/form-data":
                uploads = await _from_form(request, config)
            elif kind == "application/json":
                uploads = await _from_json(request, config)
            else:
                raise Problem(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                    f"{kind or 'nothing'} is not understood: send multipart/form-data with a field file, "
                    'or application/json as {"instances": [{"data": {"b64": "..."}}]}',
                )
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, f"the request took more than {config.timeout_s:g} s to arrive",
            {"Connection": "close"},
        ) from None  # fmt: skip
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "the client went away") from None
    if not uploads:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "there is no picture in the request: send one as the field file")
    if len(uploads) > config.max_images:
        raise _too_many(config)
    for upload in uploads:
        if len(upload.content) > config.max_image_mb * MB:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{upload.name} is larger than {config.max_image_mb:g} MB", file=upload.name,
            )  # fmt: skip
    return uploads


async def _from_form(request: Request, config: ServeConfig) -> list[Upload]:
    # Any codec of Python's would be taken: some of them fail, and some make no valid text.
    charset = parse_options_header(request.headers["content-type"])[1].get(b"charset", b"utf-8")
    if charset.lower() not in CHARSETS:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "names in the form are not understood: write them in UTF-8")
    parser = MultiPartParser(
        request.headers, _limited(request, config), max_files=config.max_images, max_fields=config.max_images,
        max_part_size=int(config.max_image_mb * MB),
    )  # fmt: skip
    # Pictures stay in memory: there may be no disk to write to.
    parser.spool_max_size = int(config.max_request_mb * MB)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many"):
            raise _too_many(config) from None
        raise Problem(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {error.message}") from None
    uploads = []
    for field, value in form.multi_items():
        if field not in FIELDS:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"there is no field {field!r}: send pictures as file")
        if not isinstance(value, UploadFile):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the field {field} holds no file")
        uploads.append(Upload(value.filename or field, await value.read()))
    return uploads


async def _from_json(request: Request, config: ServeConfig) -> list[Upload]:
    body = b"".join([part async for part in _limited(request, config)])
    # Base64 has none of these: what is too long or too deep is told before a million objects are made of it.
    if body.count(b",") >= config.max_images:
        raise _too_many(config)
    if body.count(b"{") + body.count(b"[") > 2 * config.max_images + 2:
        raise _not_instances()
    try:
        instances = _Instances.model_validate(json.loads(body)).instances
    except ValueError as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = f": {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise _not_instances(where) from None
    uploads = []
    for position, instance in enumerate(instances):
        try:
            content = base64.b64decode(instance.data.b64, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"instances.{position}.data.b64 is not base64") from None
        uploads.append(Upload(f"instances.{position}", content))
    return uploads


async def _limited(request: Request, config: ServeConfig) -> AsyncGenerator[bytes, None]:
    most, size = config.max_request_mb * MB, 0
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(config)
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(config)
        yield part


def _too_large(config: ServeConfig) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is larger than {config.max_request_mb:g} MB")


def _not_instances(where: str = "") -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f'the body is not {{"instances": [{{"data": {{"b64": "..."}}}}]}}{where}'
    )


def _too_many(config: ServeConfig) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"there are more than {config.max_images} pictures in the request"
    )
