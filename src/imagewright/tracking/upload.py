"""Send a run while it is being written, from a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

# Seconds that a stage waits at its end for its run to be sent, and for a server that has not answered at all.
PATIENCE = 40.0
SILENCE = 15.0
SENDER = Path(__file__).with_name("sender.py")


class Upload:
    """A process that reads the run's file as it grows and sends it: what it meets on the way never reaches the stage.

    Args:
        run: the run's folder, `runs/wandb/offline-run-<time>-<id>`. Where it goes on from others whose end was never
            sent, these are sent first.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._all = sorted(run.parent.glob(f"offline-run-*-{run.name.split('-', 3)[-1]}"))
        self._log = run / "logs" / "upload.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # WANDB_SERVICE would tie it to this process's own service; silence would hide the reason of a failure.
        drop = ("WANDB_SERVICE", "WANDB_SILENT", "WANDB_QUIET", "WANDB_MODE")
        environment = {key: value for key, value in os.environ.items() if key not in drop}
        environment["WANDB_DIR"] = str(run.parent.parent)  # the command's own log
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", SENDER, str(os.getpid()), *self.unsent],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    @property
    def unsent(self) -> list[Path]:
        """This run's folders that are not wholly sent, the oldest first and the one in use last."""
        return [folder for folder in self._all if not any(folder.glob("*.wandb.synced"))]

    @property
    def ended(self) -> bool:
        """Whether the process has ended, which it should not before the run does."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the rest to be sent, and end the process if it takes longer.

        Returns:
            True if everything has arrived.
        """
        first = min(seconds, SILENCE)
        if not self._ends_within(first) and not (self.address and self._ends_within(seconds - first)):
            self._process.terminate()
            if not self._ends_within(2):
                self._process.kill()
                self._process.wait()
        return self.run not in self.unsent

    @property
    def address(self) -> str | None:
        """Where the run can be looked at."""
        found = re.search(r"View run .* at (\S+)", self._text())
        return found.group(1) if found else None

    @property
    def reason(self) -> str:
        """Why it was not sent, as far as is known."""
        errors = re.findall(r"(?:ERROR|Error:) (.+)", self._text())
        if errors:
            return str(errors[-1])[:160]
        return "the sender ended early" if self._process.returncode not in (None, 0, -15) else "no answer in time"

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.is_file() else ""
