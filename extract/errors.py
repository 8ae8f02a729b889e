"""Errors that a person sees: one line, lower case, with what to do next."""


class PerpsError(Exception):
    """A failure that the command line prints as one line on stderr; the exit code is 1.

    The message says what is wrong and what to do next.
    """

    exit_code = 1


class UsageError(PerpsError):
    """A command that cannot be carried out as typed; the exit code is 2."""

    exit_code = 2


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interrupt that caused an error, None if there was none.

    When a signal interrupts a library, the library's clean-up may raise another error.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, KeyboardInterrupt):
            return found
        found = found.__cause__ or found.__context__
    return None
