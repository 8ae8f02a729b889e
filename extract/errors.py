"""What a person sees when something is wrong: one line, lower case, with what to do next."""


class PerpsError(Exception):
    """A failure that the command line prints as one line on stderr; the exit code is 1.

    The message says what was expected, what came and what to do next.
    """

    exit_code = 1


class UsageError(PerpsError):
    """A command that cannot be carried out as typed; the exit code is 2."""

    exit_code = 2
