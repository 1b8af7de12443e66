"""`config/serve/`: limits of the server. What protects it has no switch, only a number."""

from typing import Annotated

from pydantic import Field

from imagewright.config.section import Section

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class ServeConfig(Section):
    """One file of `config/serve/`; the defaults here are those of `default.yaml`."""

    threads: Count = 2
    decoders: Count = 2
    max_batch: Count = 8
    queue: Count = 64
    max_request_mb: Annotated[float, Field(gt=0)] = 32.0
    max_image_mb: Annotated[float, Field(gt=0)] = 16.0
    max_images: Count = 16
    timeout_s: Seconds = 10.0
    shutdown_s: Seconds = 30.0
    rate_limit: str | None = None
    allowed_origins: list[str] = []
    log_predictions: str | None = None
    log_images: bool = False
