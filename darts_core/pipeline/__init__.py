"""What each stage of the pipeline does: read the outputs of earlier ones, call the engine, write its own."""
