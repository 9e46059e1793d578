"""Errors that fastes raises.

A `UserError` says what is wrong and what to do about it in one paragraph; the command line prints just that
paragraph and exits with status 2. Bad arrays handed to `fastes.kernels` raise the built-in `ValueError` and
`TypeError` instead, as array libraries do.
"""

from __future__ import annotations


class FastesError(Exception):
    """Base class of every error that fastes raises on purpose."""


class UserError(FastesError):
    """Something outside the library is wrong and the user can mend it; the message says how."""


class ConfigError(UserError):
    """A configuration names an unknown key or holds a value that does not fit."""


class PolicyError(UserError):
    """A policy cannot be built, flattened or applied to the problem's spaces."""


class ProblemError(UserError):
    """A problem cannot be built, or raised while a member was evaluated."""


class FitnessError(UserError):
    """A member's fitness is NaN or infinite."""


class StorageError(UserError):
    """A run's directory, checkpoint or journal cannot be written or read."""


class ExecutorError(UserError):
    """Workers cannot be started, or died repeatedly on the same work unit."""
