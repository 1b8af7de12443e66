"""The commands `imagewright serve`, which is also what the gate starts, and `imagewright predict`."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    bundle: Annotated[str, typer.Argument(help="A folder in results/bundle/, or gs://bucket/folder.")],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 8000,
    config: Annotated[Path | None, typer.Option(help="Limits: a file as config/serve/default.yaml.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnx, int8 or openvino; by default what the gate found best.")
    ] = None,
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
    from imagewright.serve.server import give_memory_back, listen, run

    # Whoever is told to stop before it serves leaves nothing half brought behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    limits = read_limits(config)
    give_memory_back()
    server = listen(host, port)
    with brought(bundle) as folder:
        run(create_app(open_served(folder, runtime, ungated), limits), server, limits.shutdown_s, ready)


def predict(
    bundle: Annotated[str, typer.Argument(help="A folder in results/bundle/, or gs://bucket/folder.")],
    paths: Annotated[list[str], typer.Argument(help="Pictures, folders, or patterns in quotes.")],
    form: Annotated[
        Literal["csv", "json", "png", "overlay"], typer.Option("--as", help="png and overlay: for masks alone.")
    ] = "csv",
    out: Annotated[Path | None, typer.Option(help="A file, or the folder for masks; by default, the screen.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Labels below it are unsure.", min=0, max=1)] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 2,
    runtime: Annotated[
        str | None, typer.Option(help="onnx, int8 or openvino; by default what the gate found best.")
    ] = None,
) -> None:
    """Answer for files on this machine, with the same bytes that are served.

    A file that is no picture is told at the end, and the exit status is 1; the rest is done. The mask or overlay of
    a.jpg is called a.png; where another picture is called so too, a.jpg.png, or s-a.jpg.png with its folders.

    \b
    Examples:
      imagewright predict results/bundle/digits some.png
      imagewright predict results/bundle/digits photos/ 'more/*.jpg' --out labels.csv
      imagewright predict results/bundle/brain slices/ --as overlay --out overlays/
    """
    from imagewright.serve.model import open_served
    from imagewright.serve.offline import find_files, predict_files
    from imagewright.serve.remote import brought

    with brought(bundle) as folder:
        told = predict_files(open_served(folder, runtime), find_files(paths), form, out, threads, threshold)
    for file, problem in told.problems.items():
        print(f"{file}: {problem}", file=sys.stderr)
    if told.problems:
        print(f"{told.done} files have an answer, {len(told.problems)} do not", file=sys.stderr)
        raise typer.Exit(1)
