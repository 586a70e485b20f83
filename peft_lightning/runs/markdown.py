"""Text in Markdown, shown as it is."""

# What Markdown, GitHub's and TensorBoard's too, takes for a table's line, code, emphasis, a link, HTML, an entity,
# crossed-out text or mathematics.
SPECIAL = "\\|`*_[]<>&~$"


def escaped(text: str) -> str:
    """Escapes a text for a cell of a Markdown table; a line break in it becomes a space."""
    return "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in " ".join(text.splitlines()))
