"""Metrics as functions of counts, in NumPy: what a sample adds is counted once, whatever is computed from it."""
