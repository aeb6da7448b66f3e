"""Discrete networks: cells on one skeleton with the supernet, and the baselines they are compared with."""
