"""The one error that a user is meant to see."""


class UserError(Exception):
    """A mistake or a broken input that the user can mend.

    The message is one line that says what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with 1.
    """
