"""One concern each: what watches a run, measures it and writes it down; none of them steers it."""
