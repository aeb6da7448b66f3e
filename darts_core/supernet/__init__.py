"""The continuous relaxation: architecture parameters, the mixed operation, and the network of them."""
