"""Device facts, latency, throughput and memory on this device, and the provenance record. Not run on a GPU yet."""
