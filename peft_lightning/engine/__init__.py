"""How a training step runs: as Lightning runs it, in micro-batches that fit the memory, or as a CUDA graph."""
