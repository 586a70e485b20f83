"""The report of a sweep: each value's own report, and how the differences between recipes change with the value."""
