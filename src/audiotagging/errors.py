"""What the user can fix: one base class, so that everything else is known to be a defect of the program.

The message is one line: what was expected, what was found, where, and what to do. The command line prints it without a
traceback and ends with exit code 2. Every exception that this library defines derives from `UserError`.
"""


class UserError(Exception):
    """Something that the user can fix: an option, a file, a data set, a service that does not answer."""
