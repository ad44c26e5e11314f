"""The one exception that a user's mistake raises."""


class UserError(ValueError):
    """Something the user can put right: one sentence that says what is wrong, where, and what to do.

    Command lines print it without a traceback and exit with code 2.
    """
