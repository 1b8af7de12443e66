"""Stage `tensors`: every image decoded once, to uint8 memory maps; nothing random is ever stored."""
