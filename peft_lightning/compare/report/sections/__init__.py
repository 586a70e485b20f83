"""The content of the page's sections, as plain values for its template."""
