"""The one error that a user is meant to see."""


class UserError(Exception):
    """A mistake or a broken input that the user can mend.

    The message is one line that says what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with 1.
    """


def make_anew(stage: str) -> str:
    """What helps where outs of DVC's `stage` are damaged. --force alone would run all stages before it again too."""
    return f"run `dvc repro --force --single-item {stage}`"
