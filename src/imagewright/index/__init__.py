"""Stage `index`: every image, its label or mask, its group and its split; what was rejected, and why."""
