"""Stage `bundle`: the one folder that is served: what the gate let pass, with where it came from."""
