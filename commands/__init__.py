"""The command line: one short file per command.

Each has a docstring with examples, which is its help, and the functions `add_arguments(parser)` and `run(args)`.
"""

import argparse
import logging
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from audiotagging.base.arguments import Parser
from audiotagging.base.errors import UserError, without_secrets
from audiotagging.base.gate import CODES, through

VERSION = "0.1.0"  # pyproject.toml and the Makefile read it here
PROGRAM = "audiotagging"  # `python pipeline.py` is the same program
GROUPS = {
    "on this machine": {
        "run": "train, average and score an ensemble",
        "check": "check a data folder, and summarise it",
        "preprocess": "only compute the spectrograms",
    },
    "with a trained ensemble": {
        "tag": "tag sound files",
        "serve": "tag sounds over HTTP",
        "evaluate": "score a run again, and write its report again",
        "compare": "compare two runs",
        "learning-curve": "find out what to record next",
        "distil": "train one network to score like an ensemble",
        "export": "write an ensemble as ONNX, with a model card",
        "champion": "list champions, compare them, change by hand which is in use",
    },
    "on a Kubeflow cluster": {
        "doctor": "find out what would make a run fail, before one is submitted",
        "submit": "run the pipeline",
        "schedule": "run the pipeline on a schedule",
        "runs": "list the newest runs",
        "follow": "show the progress of a run",
        "results": "download the results of a run",
        "stop": "stop a run",
        "retry": "run the failed stages of a run again",
        "compile": "compile the pipeline to a file for Kubeflow",
    },
    "help": {
        "members": "list the members of the ensembles, and explain their fields",
        "completion": "print what makes the Tab key complete commands and options",
    },
}
COMMANDS = {name: help for group in GROUPS.values() for name, help in group.items()}
LIST_OPTIONS = ("--folds",)  # their values may start with a minus sign
TRAINING, TAGGING = "training", "tagging"  # the pipelines
OF_PIPELINES = ("run", "doctor", "submit", "schedule", "compile")  # commands with --pipeline


def main(pipelines: Mapping[str, Any], arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        pipelines: The pipelines by the names that --pipeline takes, for the commands that run or submit them.
        arguments: The arguments after the program's name. The default is those of the command line.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for an error that the user can fix, 70 for a defect of the
        program, 130 if the command was interrupted, 141 if its output was a pipe that has been closed.
    """
    return through(lambda: _run(pipelines, sys.argv[1:] if arguments is None else arguments))


def _run(pipelines: Mapping[str, Any], arguments: list[str]) -> int:
    _check_working_directory()
    parser = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return CODES["error"]
    name = parser.parse_args(arguments[:1]).command
    args = parse(name, arguments[1:])
    args.command_line = without_secrets(shlex.join([PROGRAM, *arguments]))  # parsing finds out what to hide
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if name not in OF_PIPELINES:
        return int(module_of(name).run(args))
    which, args.pipeline = args.pipeline, pipelines[args.pipeline]
    return int(module_of(name, which).run(args))


def _parser() -> Parser:
    """Return the parser of the program's own arguments, whose help lists the commands."""
    listing = "\n\n".join(
        "\n".join([f"{group}:", *(f"  {name:<16}{help}" for name, help in commands.items())])
        for group, commands in GROUPS.items()
    )
    parser = Parser(
        prog=PROGRAM,
        description="Train an ensemble of audio taggers from a folder of labelled sounds.",
        epilog=f"{listing}\n\n`{PROGRAM} COMMAND --help` explains a command and its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do: see below")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    return parser


def module_of(name: str, pipeline: str = TRAINING) -> ModuleType:
    """Return the module of a command. If its options depend on the pipeline, there is one for each."""
    folder = "commands.tagging" if pipeline == TAGGING and name != "compile" else "commands"
    return import_module(f"{folder}.{name.replace('-', '_')}")


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Add the option on which the other options of a command depend."""
    parser.add_argument(
        "--pipeline",
        choices=[TRAINING, TAGGING],
        default=TRAINING,
        help="train an ensemble, or tag new sounds with it; `--pipeline tagging --help` explains the options of the "
        "latter (default: %(default)s)",
    )


def check_counts(args: argparse.Namespace, *options: str) -> None:
    """Check options that count something. One that was not given and has no default is None.

    Raises:
        UserError: If one of them is below 1.
    """
    for option in options:
        value = getattr(args, option)
        if value is not None and value < 1:
            raise UserError(f"--{option}: expected a number of at least 1, found {value}")


def parse(name: str, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of a command.

    Raises:
        UserError: If they are wrong.
    """
    pipeline = _pipeline_of(arguments) if name in OF_PIPELINES else TRAINING
    command = module_of(name, pipeline)
    description, _, examples = (command.__doc__ or "").partition("\n\nExamples:\n")
    parser = Parser(
        prog=f"{PROGRAM} {name}" + (f" --pipeline {pipeline}" if pipeline != TRAINING else ""),
        description=textwrap.fill(description, shutil.get_terminal_size().columns - 2),
        epilog=f"examples:\n{textwrap.indent(textwrap.dedent(examples).rstrip(), '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    args, unknown = parser.parse_known_args(_join_lists(arguments))
    if unknown:
        parser.error(_explain_unknown(unknown, name, pipeline))
    return args


def _pipeline_of(arguments: list[str]) -> str:
    parser = Parser(prog=PROGRAM, add_help=False)
    add_pipeline(parser)
    return str(parser.parse_known_args(arguments)[0].pipeline)


def _explain_unknown(unknown: list[str], name: str, pipeline: str) -> str:
    """Return what is wrong with arguments that a command does not take."""
    if name in OF_PIPELINES:
        other = TAGGING if pipeline == TRAINING else TRAINING
        parser = argparse.ArgumentParser()
        module_of(name, other).add_arguments(parser)
        for argument in unknown:
            if (option := argument.partition("=")[0]) in parser._option_string_actions:
                return f"{option} is an option of --pipeline {other}, not of --pipeline {pipeline}"
    return f"unrecognized arguments: {' '.join(unknown)}"


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
