"""How a training step runs: by Lightning's own calls, in micro-batches that fit the memory, or as a CUDA graph."""
