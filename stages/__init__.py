"""The six stages of the pipeline, each a thin script over darts_core."""
