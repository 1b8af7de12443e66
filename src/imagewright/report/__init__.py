"""Stage `report`: one page on all experiments."""
