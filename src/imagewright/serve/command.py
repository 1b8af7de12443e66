"""The command `imagewright serve`, which is also what the gate starts."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    bundle: Annotated[str, typer.Argument(help="A folder in results/bundle/, or gs://bucket/folder.")],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 8000,
    config: Annotated[Path | None, typer.Option(help="Limits: a file as config/serve/default.yaml.")] = None,
    runtime: Annotated[str | None, typer.Option(help="onnx or int8; by default what the gate found best.")] = None,
    ungated: Annotated[bool, typer.Option("--ungated", help="Serve a model that no gate has passed.")] = False,
    ready: Annotated[Path | None, typer.Option(help="A file to write the address to, once it is taken.")] = None,
) -> None:
    """Answer over HTTP: POST /predict, GET /health, /metadata, /metrics and /openapi.json.

    \b
    Examples:
      imagewright serve results/bundle/digits
      curl -F file=@some.png http://127.0.0.1:8000/predict
    """
    from imagewright.config.serve import read_limits
    from imagewright.serve.app import create_app
    from imagewright.serve.model import open_served
    from imagewright.serve.remote import brought
    from imagewright.serve.server import listen, run

    limits = read_limits(config)
    server = listen(host, port)
    with brought(bundle) as folder:
        run(create_app(open_served(folder, runtime, ungated), limits), server, limits.shutdown_s, ready)
