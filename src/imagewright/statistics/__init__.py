"""Uncertainty and calibration, in NumPy and SciPy."""
