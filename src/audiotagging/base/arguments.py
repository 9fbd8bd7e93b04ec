"""Reads the arguments of a command."""

import argparse
from typing import Any, NoReturn

from audiotagging.base.errors import UserError


class Parser(argparse.ArgumentParser):
    """Reads the arguments. What is wrong with them is said like every other error."""

    def error(self, message: str) -> NoReturn:
        """End the process with a message of one line."""
        raise UserError(f"{message}; `{self.prog} --help` lists the options")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Convert the values of an option. Python up to 3.12 drops a value `--`, and then misses it or takes none."""
        if arg_strings == ["--"] and (action.option_strings or action.nargs is None):
            raise argparse.ArgumentError(action, "expected a value, found '--'")
        return super()._get_values(action, arg_strings)  # type: ignore[misc]
