"""The API as OpenAPI describes it, with examples that can be tried."""

from typing import Any

from fastapi import FastAPI

from imagewright.serve.model import Served
from imagewright.serve.problems import MEDIA_TYPE, SCHEMA

# The smallest grey PNG: one pixel.
EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
PROBLEMS = {
    400: "The request cannot be read.",
    401: "A key is needed.",
    404: "There is no such path.",
    405: "This path has other methods.",
    408: "The request took too long to arrive.",
    413: "Too large, or too many.",
    415: "Neither a form nor JSON; or no picture.",
    422: "A picture is broken, or something is missing.",
    429: "Asked too often.",
    503: "Too many wait already.",
    504: "There was no answer in time.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": SCHEMA}}} for status, text in PROBLEMS.items()
}


def predict_request(most: int) -> dict[str, Any]:
    """What `/predict` is asked, with at most so many pictures."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "array", "maxItems": most, "items": {"type": "string", "format": "binary"}}
                            for name in ("file", "data")
                        },
                        "additionalProperties": False,
                    }
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["instances"],
                        "additionalProperties": False,
                        "properties": {
                            "instances": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": most,
                                "items": {
                                    "type": "object",
                                    "required": ["data"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "data": {
                                            "type": "object",
                                            "required": ["b64"],
                                            "additionalProperties": False,
                                            "properties": {"b64": {"type": "string", "format": "byte"}},
                                        }
                                    },
                                },
                            }
                        },
                    },
                    "example": {"instances": [{"data": {"b64": EXAMPLE}}]},
                },
            },
        }
    }


def describe(app: FastAPI, served: Served) -> None:
    """Say in the description what this server answers to `/predict`."""
    number, text = {"type": "number"}, {"type": "string"}
    if served.task == "classification":
        prediction = {
            "file": text,
            "label": {"type": "string", "enum": served.classes},
            "name": text,
            "confidence": number,
            "unsure": {"type": "boolean"},
            "top": {"type": "array", "items": {"type": "object", "properties": {"label": text, "probability": number}}},
            "probabilities": {"type": "object", "additionalProperties": number},
        }
        forms = {}
    else:
        size = {"type": "integer"}
        areas = {"type": "object", "additionalProperties": number}
        prediction = {"file": text, "height": size, "width": size, "areas": areas, "confidence": number}
        forms = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    answer = {
        "type": "object",
        "required": ["bundle", "runtime", "ms", "predictions"],
        "properties": {
            "bundle": text,
            "runtime": text,
            "ms": number,
            "predictions": {
                "type": "array",
                "items": {"type": "object", "required": list(prediction), "properties": prediction},
            },
        },
    }
    schema = app.openapi()
    schema["paths"]["/predict"]["post"]["responses"]["200"] = {
        "description": "One prediction a picture, in the order in which they came.",
        "content": {"application/json": {"schema": answer}, **forms},
    }
