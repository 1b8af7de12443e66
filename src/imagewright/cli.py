"""The command `imagewright`: what people type beside `snakemake` and `dvc`."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from imagewright.errors import ImagewrightError
from imagewright.serve.command import predict, serve

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="From a folder of labelled images to a model you can trust.",
)  # fmt: skip


@app.callback()
def _commands() -> None:
    """Keep the commands' names, even while there is one."""


@app.command()
def pull(
    remote: Annotated[str | None, typer.Option(help="A DVC remote; by default the one that .dvc/config names.")] = None,
    force: Annotated[bool, typer.Option(help="Replace files that were changed here and never recorded.")] = False,
    check: Annotated[bool, typer.Option(help="Only look whether results lie here that were never recorded.")] = False,
) -> None:
    """Bring back the recorded results, so that `snakemake` does only what has changed since.

    \b
    Examples:
      imagewright pull
      imagewright pull --remote local
      imagewright pull --check
    """
    from imagewright.pull import check as check_recorded
    from imagewright.pull import pull

    if check:
        check_recorded(Path.cwd())
        print("all that lies here is recorded")
        return
    pulled = pull(Path.cwd(), remote, force)
    restored = Counter("/".join(file.split("/")[:2]) for file in pulled.restored)
    print(f"restored: {len(pulled.restored)} files, {pulled.size / 1e6:.1f} MB")
    for folder, count in sorted(restored.items()):
        print(f"  {folder}: {count}")
    print(f"stale: {len(pulled.stale)} jobs, to be run again with all that depends on them")
    for (stage, name), reason in pulled.stale.items():
        print(f"  {stage} {name}: {reason}")
    print(f"missing: {len(pulled.missing)} files")
    for missing in pulled.missing:
        print(f"  {missing.path}: its object {missing.problem}: {missing.object}")
    if pulled.missing:
        print(
            "  repair: delete these objects where they are damaged, and run dvc push where the results are whole; "
            "or build them again: snakemake --cores 8"
        )
        raise typer.Exit(1)


@app.command()
def prune(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete the results of experiments whose file in config/experiment/ is gone; raw data stays.

    \b
    Example:
      rm config/experiment/old.yaml; imagewright prune; dvc repro
    """
    from imagewright.prune import prune, removed

    paths = removed(Path())
    for path in paths:
        print(path)
    if not paths:
        print("nothing to delete: config/ has all whose results are here")
    elif yes or typer.confirm(f"delete these {len(paths)}?"):
        prune(paths)
        print(f"deleted {len(paths)}; dvc repro brings dvc.lock up to date")


@app.command()
def reproduce(
    experiment: Annotated[str, typer.Argument(help="A name in results/bundle/.")],
    cores: Annotated[int, typer.Option(help="Cores to work with; no result depends on them.", min=1)] = 2,
    scratch: Annotated[
        Path | None, typer.Option(help="Where to make the folder to build in; by default runs/reproduce/.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep that folder, even where all is the same.")] = False,
) -> None:
    """Build an experiment again from raw data, and say whether it comes out as recorded.

    Nothing in results/ or data/ is changed. The exit status is 0 where every fingerprint is the same, and where only
    the environment is another and the metrics lie within their recorded intervals; else it is 1.

    \b
    Examples:
      imagewright reproduce digits
      imagewright reproduce digits --cores 8 --scratch /tmp --keep
    """
    from imagewright.reproduce import reproduce

    def tell(line: str) -> None:
        print(line, flush=True)

    if not reproduce(Path.cwd(), experiment, tell, cores, scratch, keep):
        raise typer.Exit(1)


app.command()(serve)
app.command()(predict)


@app.command()
def plan(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For snakemake, after --: targets, --config ...")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="gcp, slurm, or the path of a profile.")] = None,
    took: Annotated[bool, typer.Option("--took", help="Show what the jobs of the last plan have taken since.")] = False,
) -> None:
    """Show which jobs would run, on which machines, how long, and what they would cost.

    Time and memory are those of each job's last run; prices stand in workflow/profiles/gcp/machines.yaml.

    \b
    Examples:
      imagewright plan --profile gcp
      imagewright plan --profile gcp -- train_all --config experiments=drinks
      imagewright plan --took
    """
    from imagewright.plan import plan as make_plan
    from imagewright.plan import took as look_back
    from imagewright.plan.table import planned_table, took_table

    if took:
        print(took_table(*look_back(Path.cwd())))
    else:
        print(planned_table(make_plan(Path.cwd(), profile, arguments or ())))


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 8501,
    api: Annotated[str | None, typer.Option(help="The API; by default IMAGEWRIGHT_API, or port 8000 here.")] = None,
) -> None:
    """Show a web page to drop pictures on; it asks the API that `imagewright serve` runs.

    \b
    Examples:
      imagewright serve results/bundle/digits
      imagewright ui
    """
    from imagewright.ui import run_ui

    raise typer.Exit(run_ui(host, port, api))


def main() -> None:
    """Run the command; a mistake that a person can put right is two lines, and the exit status is 1."""
    try:
        app()
    except ImagewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
