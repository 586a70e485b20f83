"""The errors that end in one line instead of a traceback."""


class UserError(Exception):
    """Something a user can put right: its message is one line that names the thing and the mend."""
