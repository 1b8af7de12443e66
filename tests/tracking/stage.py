"""What a stage tells its tracker, in a process of its own: `python stage.py <folder> [steps] [patience] [pause]`."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from imagewright.config.tracking import TrackingConfig
from imagewright.tracking import Sample, tracked, upload

folder, steps = Path(sys.argv[1]), range(*map(int, sys.argv[2].split("-")))
upload.PATIENCE = float(sys.argv[3]) if len(sys.argv) > 3 else upload.PATIENCE
pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
config = TrackingConfig(mode=os.environ.get("MODE", "online"))  # type: ignore[arg-type]
before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]  # noqa: NPY002
started = time.monotonic()
with tracked(
    config, folder, job="train", experiment="digits", trial="default",
    values={"optimizer": {"lr": 0.1}}, run_id=os.environ.get("LASTING"),
) as tracker:  # fmt: skip
    for step in steps:
        tracker.log({"train/step_loss": 1 / (step + 1)}, step)
    time.sleep(pause)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    for process in psutil.Process().children() if os.environ.get("SERVICE") else []:
        if process.name() == "wandb-core":
            process.send_signal(int(os.environ["SERVICE"]))
    tracker.log({"val/accuracy": 0.5}, steps.stop)
    Image.new("RGB", (8, 8)).save("confusion.png")
    tracker.picture("confusion", Path("confusion.png"), "on test")
    image, mask = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), np.uint8)
    tracker.examples("examples", [Sample("a", image, "one", "two", 0.9)], ["one", "two"])
    tracker.examples("masks", [Sample("a", image, mask, mask, 0.9)], ["one", "two"])
    tracker.use("digits-0123", "dataset", {"fingerprint": "0123"})
    Path("bundle").mkdir(exist_ok=True)
    Path("bundle/bundle.json").write_text("{}")
    tracker.artifact("digits", "model", Path("bundle"), {"id": "b1"})
    tracker.summary({"test/accuracy": 0.75})
assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]  # noqa: NPY002
print(f"finished {time.monotonic() - started:.1f}")
