"""Weights & Biases: what a stage tells of its work. Every run is written to disk; online, it is also sent.

A stage works the same with tracking and without it: whatever goes wrong here costs one message and bounded time.
"""

from imagewright.tracking.identity import lasting_id
from imagewright.tracking.tracker import Sample, Tracker, tracked

__all__ = ["Sample", "Tracker", "lasting_id", "tracked"]
