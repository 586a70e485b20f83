"""The comparison of methods: which differences between finished runs are real."""
