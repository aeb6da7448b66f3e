"""Where and how a stage runs: seeds, device, threads, memory, checkpoints, progress."""
