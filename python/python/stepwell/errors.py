"""Exceptions of Stepwell. All derive from :class:`StepwellError`.

Where a builtin exception says the same thing, the class derives from it too: ``except ValueError`` catches a bad name,
``except OSError`` a full disk.
"""

__all__ = [
    "CorruptionError",
    "ForkedError",
    "InputError",
    "InputTypeError",
    "JournalFullError",
    "NotFoundError",
    "QueryError",
    "ReadOnlyError",
    "RunClosedError",
    "StepwellError",
    "StepwellWarning",
    "StorageError",
]


class StepwellError(Exception):
    """Base of every exception that Stepwell raises."""


class InputError(StepwellError, ValueError):
    """A name, a value or a setting that cannot be used; the message says why and what to use."""


class InputTypeError(StepwellError, TypeError):
    """A value of a type that cannot be logged, such as text or ``None``; nothing of its row was logged."""


class RunClosedError(StepwellError):
    """The run was finished; nothing can be added to it."""


class ForkedError(RunClosedError):
    """The run belongs to the parent process of this forked child."""


class JournalFullError(StepwellError):
    """The journal had no room and the run was started with ``when_full="fail"``; the record is counted as dropped."""


class NotFoundError(StepwellError, LookupError):
    """A store, run or file that was named does not exist."""


class StorageError(StepwellError, OSError):
    """A file could not be read, written or synced."""


class ReadOnlyError(StorageError):
    """A write was asked of a store that cannot be written to."""


class CorruptionError(StepwellError):
    """A file does not hold what was written to it; the message names the file."""


class QueryError(StepwellError, ValueError):
    """SQL that does not parse, names what does not exist, would write, or failed while it ran."""


class StepwellWarning(RuntimeWarning):
    """Something was lost or could not be done, and the run went on: told when the run finishes."""
