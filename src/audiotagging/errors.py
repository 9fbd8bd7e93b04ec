"""The base class of errors that the user can fix. Every other exception is a defect of the program.

A message is one line that says where something is wrong, what was expected, what was found, and what to do. The command
line prints it without a traceback and exits with code 2. All exceptions of this library derive from `UserError`.
"""


class UserError(Exception):
    """Raised for what the user can fix, such as an option, a file, a data set or a service that does not answer."""
