"""Speed and memory, measured: pinned to one core, interleaved in one process, medians, as ratios. Not tests: a busy machine is slower."""
