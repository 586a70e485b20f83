"""A server of a trained model's answers: loading, dynamic batching, HTTP."""
