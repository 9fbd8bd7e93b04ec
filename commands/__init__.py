"""The command line of pipeline.py: one short file per command, with `add_arguments(parser)` and `run(args)`."""

import argparse
import logging
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from audiotagging.errors import UserError, without_secrets
from audiotagging.gate import through

GROUPS = {
    "on this machine": {
        "run": "train, average and score an ensemble",
        "check": "check a data folder, and summarise it",
        "preprocess": "only compute the spectrograms",
    },
    "with a trained ensemble": {
        "tag": "tag sound files",
        "evaluate": "score a run again, and write its report again",
        "compare": "compare two runs",
    },
    "on a Kubeflow cluster": {
        "submit": "run the pipeline",
        "schedule": "run the pipeline on a schedule",
        "runs": "list the newest runs",
        "follow": "show the progress of a run",
        "results": "download the results of a run",
        "stop": "stop a run",
        "retry": "run the failed stages of a run again",
        "compile": "compile the pipeline to a file for Kubeflow",
    },
}
COMMANDS = {name: help for group in GROUPS.values() for name, help in group.items()}
LIST_OPTIONS = ("--folds",)  # their values may start with a minus sign


class Parser(argparse.ArgumentParser):
    """Reads the arguments. What is wrong with them is said like every other error."""

    def error(self, message: str) -> NoReturn:
        """End the process with a message of one line."""
        raise UserError(f"{message}; `{self.prog} --help` lists the options")


def main(pipeline: Any, arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        pipeline: The pipeline, for the commands that run or submit it.
        arguments: The arguments after the program's name. The default is those of the command line.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for an error that the user can fix, 70 for a defect of the
        program, 130 if the command was interrupted, 141 if its output was a pipe that has been closed.
    """
    return through(lambda: _run(pipeline, sys.argv[1:] if arguments is None else arguments))


def _run(pipeline: Any, arguments: list[str]) -> int:
    _check_working_directory()
    listing = "\n\n".join(
        "\n".join([f"{group}:", *(f"  {name:<12}{help}" for name, help in commands.items())])
        for group, commands in GROUPS.items()
    )
    parser = Parser(
        prog="pipeline.py",
        description="Train an ensemble of audio taggers from a folder of labelled sounds.",
        epilog=f"{listing}\n\n`pipeline.py COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = import_module(f"commands.{parser.parse_args(arguments[:1]).command}")

    parser = Parser(prog=f"pipeline.py {arguments[0]}", description=command.__doc__)
    command.add_arguments(parser)
    command_line = without_secrets(shlex.join(["pipeline.py", *arguments]))  # for the report
    parser.set_defaults(pipeline=pipeline, command_line=command_line)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return int(command.run(parser.parse_args(_join_lists(arguments[1:]))))


def _check_working_directory() -> None:
    """Check that there is a working directory, which relative paths and the libraries of torch need.

    Raises:
        UserError: If it was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working directory was deleted; change to another one, and try again") from None


def _join_lists(arguments: list[str]) -> list[str]:
    """Rewrite `--folds -1,0` as `--folds=-1,0`, because argparse would take `-1,0` for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in LIST_OPTIONS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
