"""`config/export/`: the ONNX files."""

from typing import Annotated, Literal

from pydantic import Field

from imagewright.config.section import Section


class Int8(Section):
    """Static quantisation, calibrated on train images."""

    images: Annotated[int, Field(ge=1)] = 256
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    seed: Annotated[int, Field(ge=0)] = 0


class ExportConfig(Section):
    """One file of `config/export/`; it is also all that `export` reads."""

    opset: Annotated[int, Field(ge=18, le=24)] = 20
    int8: Int8 = Int8()
