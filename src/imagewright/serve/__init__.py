"""Answer over HTTP with a bundle: no torch, nothing that trains."""
