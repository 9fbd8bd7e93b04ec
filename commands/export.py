"""Export a trained ensemble as ONNX, for programs without torch, with a model card.

Examples:
    audiotagging export OUT
    audiotagging export champions --to models/onnx
"""

import argparse
from pathlib import Path

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.base.errors import UserError
from audiotagging.base.files import remove_partial
from audiotagging.export.folder import export
from commands.outputs import EXPORT

FORMATS = ("onnx",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("models", type=Path, metavar="OUT", help="output of a run, or a champions folder")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="format of the models (default: onnx)")
    parser.add_argument("--to", type=Path, metavar="DIR", help="the folder to create (default: OUT/onnx)")


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print its path."""
    out = args.to or args.models / EXPORT
    remove_partial(out.resolve())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{out}: expected a new or an empty folder, found something in it; remove it, or name another --to"
        )
    export(champion_folder(args.models) or args.models, out.resolve())
    print(out)
    return 0
