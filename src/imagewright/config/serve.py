"""`config/serve/`: limits of the server. What protects it has no switch, only a number."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from imagewright.config.section import Section
from imagewright.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class ServeConfig(Section):
    """One file of `config/serve/`; the defaults here are those of `default.yaml`."""

    threads: Count = 2
    workers: Count = 2
    max_batch: Count = 8
    queue: Count = 64
    max_request_mb: Annotated[float, Field(gt=0)] = 32.0
    max_image_mb: Annotated[float, Field(gt=0)] = 16.0
    max_megapixels: Annotated[float, Field(gt=0)] = 50.0
    max_images: Count = 16
    timeout_s: Seconds = 10.0
    shutdown_s: Seconds = 30.0
    rate_limit: str | None = None
    allowed_origins: list[str] = []
    log_predictions: str | None = None
    log_images: bool = False
    log_waiting_mb: Annotated[float, Field(gt=0)] = 256.0


def read_limits(path: Path | None) -> ServeConfig:
    """Read a file of limits; without one, the defaults hold.

    Raises:
        ConfigError: there is no such file, or a key or a value in it is wrong.
    """
    if path is None:
        return ServeConfig()
    try:
        return ServeConfig.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: it cannot be read ({' '.join(str(error).split())})", "take config/serve/default.yaml as a pattern"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}", "see config/serve/default.yaml") from error
