"""Print a script that makes the Tab key complete commands, options and paths.

Examples:
    audiotagging completion bash >> ~/.bash_completion
    audiotagging completion zsh > "${fpath[1]}/_audiotagging"
"""

import argparse
from pathlib import Path

import shtab

import commands

FOLDERS = ("DIR", "OUT", "OUT_A", "OUT_B")  # in the help, what stands for the path of a folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of this command."""
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="your shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    parser = argparse.ArgumentParser(prog=commands.PROGRAM)
    parser.add_argument("--version", action="store_true", help="print the version")
    parsers = parser.add_subparsers()
    for name, help in commands.COMMANDS.items():
        one = parsers.add_parser(name, help=help, conflict_handler="resolve")
        if name in commands.OF_PIPELINES:
            commands.module_of(name, commands.TAGGING).add_arguments(one)
        commands.module_of(name).add_arguments(one)
        for action in one._actions:
            if action.metavar in FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.type is Path or action.dest == "data":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0
