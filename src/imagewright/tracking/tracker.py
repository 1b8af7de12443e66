"""Tell Weights & Biases what a stage does, without ever standing in its way."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy import uint8
from numpy.typing import NDArray

from imagewright.config.tracking import TrackingConfig
from imagewright.tracking import settings, upload
from imagewright.tracking.bounded import Bounded
from imagewright.tracking.upload import Upload

# Seconds for a call that only writes to disk, and for the first, which imports wandb from what may be a slow disk.
LIMIT = 20.0
START = 60.0
# Seconds for the rest of the sending where the stage itself was interrupted.
INTERRUPTED = 5.0


@dataclass(frozen=True)
class Sample:
    """One image with what is true and what was predicted.

    Args:
        id: the image's name.
        image: height × width × channels, uint8.
        true: the class's name, or the mask of class indices.
        predicted: the same, from the model.
        score: the confidence, or the Dice of a mask; from 0 to 1.
    """

    id: str
    image: NDArray[uint8]
    true: str | NDArray[uint8]
    predicted: str | NDArray[uint8]
    score: float


class Tracker:
    """A run that is being written; without one, every method does nothing.

    No method raises, and each returns within `LIMIT` seconds.
    """

    def __init__(self, calls: Bounded | None = None, run: Any = None) -> None:
        self._calls = calls
        self._run = run
        self._upload: Upload | None = None
        # Pictures belong to the last step: one of their own would put the next losses in the past.
        self._step = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Losses and metrics at an optimizer step; steps only grow."""
        self._step = step
        self._do(lambda: self._run.log(dict(values), step=step))
        if self._upload and self._upload.ended:
            _say(f"nothing more is sent: {self._upload.reason}", "the run goes on and is written to disk")
            self._upload = None

    def summary(self, values: Mapping[str, Any]) -> None:
        """The run's final numbers, shown in the table of runs."""
        self._do(lambda: self._run.summary.update(dict(values)))

    def picture(self, name: str, path: Path, caption: str | None = None) -> None:
        """A picture that the stage made."""

        def call() -> None:
            import wandb

            self._run.log({name: wandb.Image(str(path), caption=caption)}, step=self._step)

        self._do(call)

    def examples(self, name: str, samples: Iterable[Sample], classes: Sequence[str]) -> None:
        """A table of sample predictions; masks are drawn over the image and can be switched on and off.

        Args:
            name: the table's name.
            samples: the images to show.
            classes: names of the classes, in the order of their indices.
        """

        def call() -> None:
            import wandb

            table = wandb.Table(columns=["id", "image", "true", "predicted", "score"])
            for sample in samples:
                table.add_data(*_row(sample, classes))
            self._run.log({name: table}, step=self._step)

        self._do(call)

    def use(self, name: str, kind: str, metadata: Mapping[str, Any]) -> None:
        """Record what this run was made from, by its facts alone; nothing of it is copied or sent.

        Args:
            name: unique for the content, for example `digits-<fingerprint>`.
            kind: `dataset` or `model`.
            metadata: facts about it.
        """

        def call() -> None:
            import wandb

            artifact = wandb.Artifact(_artifact_name(name), kind, metadata=dict(metadata))
            with artifact.new_file("facts.json") as file:
                json.dump(dict(metadata), file, indent=2, sort_keys=True)
            # `use_artifact` asks the server; this is its own way of recording a new artifact, and works offline.
            self._run._log_artifact(artifact, use_after_commit=True, is_user_created=True)

        self._do(call)

    def artifact(self, name: str, kind: str, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Keep a folder as a result of this run; its files are copied, so that they can also be sent later.

        Args:
            name: the same for every version of it.
            kind: `model` for a bundle.
            folder: the files.
            metadata: facts about it.
        """

        def call() -> None:
            import wandb

            artifact = wandb.Artifact(_artifact_name(name), kind, metadata=dict(metadata))
            artifact.add_dir(str(folder), skip_cache=True)
            self._run.log_artifact(artifact)

        self._do(call, upload.PATIENCE)

    def _do(self, call: Any, seconds: float = LIMIT) -> None:
        if self._calls and self._run:
            self._calls.do(call, seconds)


@contextmanager
def tracked(
    config: TrackingConfig,
    folder: Path,
    *,
    job: str,
    experiment: str,
    trial: str | None = None,
    values: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> Iterator[Tracker]:
    """Track what happens in the block as one run.

    The run is written to `folder`; in the mode online it is sent while it is written. Nothing that goes wrong with
    it is raised here: two lines say what was not sent and how to send it. WANDB_MODE wins over the config, and so do
    the run and the sweep that `wandb agent` names.

    Args:
        config: the mode, the project and the entity.
        folder: where all files go: `runs/wandb`.
        job: the stage.
        experiment: what the run belongs to; the runs of an experiment are one group.
        trial: the trial, if the stage works on one.
        values: the stage's configuration.
        run_id: continue this run, if there is one; see `lasting_id`.
    """
    mode = settings.mode_of(config, os.environ)
    if mode == "disabled":
        yield Tracker()
        return
    spec = find_spec("wandb")
    if spec is None or spec.origin is None:  # the folder ./wandb of an agent looks like a package without code
        _say("wandb is not installed, so this run is not tracked", "pip install 'imagewright[tracking]'")
        yield Tracker()
        return
    calls, name = Bounded(), f"{job} {experiment}" + (f"/{trial}" if trial else "")
    with settings.kept_in(folder):
        arguments = settings.init_arguments(config, folder, job, experiment, trial, run_id)
        run = calls.do(lambda: _start(mode, folder, arguments, dict(values or {})), START)
        tracker = Tracker(calls, run)
        if run is None:
            _say(f"{name} is not tracked: {calls.problem}", f"the stage itself goes on; see {folder}")
        elif mode == "online":
            tracker._upload = calls.do(lambda: Upload(Path(run.dir).parent), LIMIT)
        sending, failed, patience = tracker._upload, True, INTERRUPTED
        try:
            yield tracker
            failed, patience = False, upload.PATIENCE
        except Exception:
            patience = upload.PATIENCE
            raise
        finally:
            _finish(calls, run, failed)
            if run is not None:
                # Whatever the disk does to the last messages: the stage's own outcome is what counts.
                with suppress(OSError):
                    _conclude(name, Path(run.dir).parent, calls, sending, patience)


def _start(mode: str, folder: Path, arguments: dict[str, Any], values: dict[str, Any]) -> Any:
    if mode not in ("offline", "online"):
        raise ValueError(f"WANDB_MODE is {mode!r}, not offline, online or disabled")
    # Otherwise wandb would quietly choose the system's folder for temporary files.
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written to")
    import wandb

    known = arguments.get("id") or os.environ.get("WANDB_RUN_ID")
    # Only a run that goes on takes up what the server has of it.
    goes_on = known and any(folder.rglob(f"offline-run-*-{known}"))
    chosen = wandb.Settings(**settings.quiet_settings(), resume="allow" if goes_on else None)
    wandb.setup(chosen)
    return wandb.init(config=values, settings=chosen, **arguments)


def _finish(calls: Bounded, run: Any, failed: bool) -> None:
    """Close the run and the service behind it; a service that does not answer is ended."""

    def call() -> bool:
        import wandb

        if run is not None:
            run.finish(exit_code=int(failed))
        wandb.teardown()
        return True

    if "wandb" in sys.modules and not calls.do(call, LIMIT):
        _abandon()


def _abandon() -> None:
    """Keep wandb's own clean-up at exit from waiting for a service that is gone or does not answer."""
    with suppress(Exception):
        from wandb.sdk import wandb_setup

        connection: Any = wandb_setup.singleton()._connection
        connection._cleanup()
        connection._proc._process.kill()


def _conclude(name: str, run: Path, calls: Bounded, sending: Upload | None, patience: float) -> None:
    if calls.problem:
        _say(f"{name} is tracked only in part: {calls.problem}", f"what there is lies in {run}")
    if sending is None:
        return
    if sending.wait(patience):
        if sending.address:
            _say(f"{name} is at {sending.address}")
    else:
        unsent = " ".join(map(os.path.relpath, sending.unsent))
        _say(f"{name} was not sent to {settings.server(os.environ)}: {sending.reason}", f"later: wandb sync {unsent}")


def _row(sample: Sample, classes: Sequence[str]) -> list[Any]:
    import wandb
    from wandb.sdk.data_types.helper_types.classes import Classes

    pixels = sample.image[:, :, 0] if sample.image.shape[2] == 1 else sample.image
    if isinstance(sample.true, str) or isinstance(sample.predicted, str):
        return [sample.id, wandb.Image(pixels), sample.true, sample.predicted, float(sample.score)]
    labels = dict(enumerate(classes))
    known = Classes([{"id": index, "name": label} for index, label in labels.items()])
    both = {"true": sample.true, "predicted": sample.predicted}
    masks = {key: {"mask_data": mask, "class_labels": labels} for key, mask in both.items()}
    shown = [
        ", ".join(classes[i] for i in sorted(set(mask.ravel().tolist())) if i < len(classes)) for mask in both.values()
    ]
    return [sample.id, wandb.Image(pixels, masks=masks, classes=known), *shown, float(sample.score)]


def _artifact_name(name: str) -> str:
    """wandb takes letters, digits, dots, hyphens and underscores, 128 in all."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)[:128]


def _say(*lines: str) -> None:
    sys.stderr.write("tracking: " + "\n  ".join(lines) + "\n")
