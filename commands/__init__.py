"""The command line of pipeline.py: one short file a command, with `add_arguments(parser)` and `run(args)`."""

import argparse
import logging
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from audiotagging.errors import UserError

GROUPS = {
    "on this machine": {
        "run": "train, average and score an ensemble",
        "check": "say what is wrong with a data folder, and what it holds",
        "preprocess": "make the spectrograms alone",
    },
    "with a trained ensemble": {
        "tag": "tag sound files with it",
        "evaluate": "score a run again and renew its report",
        "compare": "say whether one run is better than another",
    },
    "on a Kubeflow cluster": {
        "submit": "run the pipeline",
        "schedule": "run it again and again",
        "runs": "list the newest runs",
        "follow": "show what happens to a run",
        "results": "bring the results of a run here",
        "stop": "stop a run",
        "retry": "do again what failed in a run",
        "compile": "write the pipeline as a file that Kubeflow takes",
    },
}
COMMANDS = {name: help for group in GROUPS.values() for name, help in group.items()}
LIST_OPTIONS = ("--folds",)  # their values may begin with a minus sign
PIPE_CLOSED = 141  # 128 + SIGPIPE, as a shell reports it


def main(pipeline: Any, arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        pipeline: The pipeline, for the commands that run or submit it.
        arguments: What was typed after the program's name; taken from the command line if left out.

    Returns:
        The exit code: 0 done, 1 failed, 2 the user can fix it, 130 interrupted, 141 nobody reads the output any more.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    listing = "\n\n".join(
        "\n".join([f"{group}:", *(f"  {name:<12}{help}" for name, help in commands.items())])
        for group, commands in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        prog="pipeline.py",
        description="Train an ensemble of audio taggers from a folder of labelled sounds.",
        epilog=f"{listing}\n\n`pipeline.py COMMAND --help` tells what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = import_module(f"commands.{parser.parse_args(arguments[:1]).command}")

    parser = argparse.ArgumentParser(prog=f"pipeline.py {arguments[0]}", description=command.__doc__)
    command.add_arguments(parser)
    parser.set_defaults(pipeline=pipeline)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        code = command.run(parser.parse_args(_join_lists(arguments[1:])))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes in the end
        return PIPE_CLOSED
    except (UserError, OSError) as error:  # of the system: no permission, a full disk, a file where a folder should be
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        print(
            "error: this is a defect of the program, not of your input; please report the lines above", file=sys.stderr
        )
        return 1


def _join_lists(arguments: list[str]) -> list[str]:
    """Write `--folds -1,0` as `--folds=-1,0`, which argparse does not take for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in LIST_OPTIONS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
