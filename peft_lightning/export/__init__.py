"""From a run to files that others load: an adapter, a merged model or ONNX, each proved by replaying the run's test."""
