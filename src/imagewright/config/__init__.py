"""Configuration: one schema file a stage, composed by Hydra, validated by pydantic, written a section a stage."""
