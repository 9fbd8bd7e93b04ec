"""Tag sound files with the ensemble of a finished run.

Examples:
    audiotagging tag bird.wav recordings --models OUT
    audiotagging tag recordings --models OUT --precision 0.9 --format csv
    audiotagging tag recordings --models MODELS --drift drift.json
    audiotagging tag forest.flac --models OUT --every 2 --overlap 1 --merge
    audiotagging tag recordings --models OUT --every 2 --format raven --out tags
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.base.errors import UserError, in_one_line
from audiotagging.base.files import atomic_file, check_target, path_text
from audiotagging.base.progress import track
from audiotagging.base.typed_json import write_json
from audiotagging.sounds.audio import SoundError
from audiotagging.sounds.formats import is_sound_path
from audiotagging.sounds.recordings import ChannelOf, examine
from audiotagging.tagging.formats import FORMATS, Format, write_file
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.output_folder import Settings, last_change, open_results, result_paths
from audiotagging.tagging.tagger import Tagged, Tagger
from audiotagging.tagging.windows import Choose, Tag, check_windows, choice, never_chosen, tag_windows
from commands import check_counts
from commands.folders import output_file
from commands.tagging.parameters import add_tag_options, add_window_options

Report = Callable[[str, str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE_OR_DIR", help="sound files, or folders of them")
    parser.add_argument(
        "--models",
        required=True,
        type=Path,
        metavar="DIR",
        help="output of a run, its folder models, a champions folder, or what `export` wrote: its folder or a file",
    )
    tags = parser.add_argument_group("the tags")
    add_tag_options(tags)
    tags.add_argument(
        "--channel",
        type=_channel,
        metavar="N",
        help="the channel to use, from 1, or mix for the mean of all (default: the mean of all, without "
        "silent ones, or the loudest one if they cancel each other)",
    )
    windows = parser.add_argument_group("where in a file")
    windows.add_argument("--every", type=float, metavar="SECONDS", help="tag every window of this length")
    add_window_options(windows)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="output format (default: table); parquet, audacity and raven need --every and --out",
    )
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write the tags of windows to one file per sound; given again, the command skips finished files",
    )
    output.add_argument(
        "--drift",
        type=output_file,
        metavar="FILE",
        help="compare the files with the test clips of the champion or the run, and write to this JSON file whether to "
        "retrain",
    )


def run(args: argparse.Namespace) -> int:
    """Print or write the tags of every file. For a file that cannot be read, print one line to the error output."""
    _check_options(args)
    models = champion_folder(args.models) or args.models
    tagger = load_tagger(models)
    drift = _Drift(args.drift, models) if args.drift else None
    args.top = min(args.top, len(tagger.classes))
    choose = _choice(args, tagger)
    unread = []

    def report(path: str, reason: str) -> None:
        print(f"{in_one_line(path)}: {reason}", file=sys.stderr)
        unread.append(path)

    found = [(path, given) for given in args.files for path in _expand(given, report)]
    if args.out:
        results = _results(args, tagger, found)
        _write_windows(results, partial(_window_tags, args, tagger, choose), FORMATS[args.format], report)
        return 1 if unread else 0
    paths = [path for path, _ in found]
    # On a terminal the results themselves show the progress.
    steps = paths if sys.stdout.isatty() else track(paths, label="tag", total=len(paths))
    if args.every is None:
        tagged = tagger.tag(steps, channel=args.channel)
        print_files = FORMATS[args.format].print_files
        assert print_files is not None, "a format that _check_options refuses"
        print_files(_file_tags(drift.keep(tagged) if drift else tagged, choose, report))
    else:
        rows = _window_rows(steps, partial(_window_tags, args, tagger, choose), report)
        FORMATS[args.format].write(rows, sys.stdout)
    if drift:
        drift.write()
    return 1 if unread else 0


def _check_options(args: argparse.Namespace) -> None:
    if args.format == "parquet":
        try:
            import_module("pyarrow")
        except ModuleNotFoundError:
            raise UserError("--format parquet: expected the package pyarrow, found none; name another format") from None
    check_counts(args, "top")
    if args.every is None:
        given = {"--overlap": args.overlap, "--merge": args.merge, "--out": args.out}
        given[f"--format {args.format}"] = FORMATS[args.format].print_files is None
        for option in (option for option, value in given.items() if value):
            raise UserError(f"{option}: expected --every SECONDS beside it, found none; add it")
        return
    if args.drift:
        raise UserError("--drift: expected whole files to compare, found --every beside it; omit one of the two")
    check_windows(every=args.every, overlap=args.overlap, every_is="--every", overlap_is="--overlap")
    if not args.out and FORMATS[args.format].print_files is None:
        raise UserError(f"--format {args.format}: expected --out DIR for its files, found none; add it")


class _Drift:
    """Keeps what is known of the files that are tagged, to compare them with the test clips in the end."""

    def __init__(self, path: Path, models: Path) -> None:
        # Here, because an image without pandas and pyarrow can tag sounds too.
        from audiotagging.tagging.drift import read_test_clips

        self.path = path
        self.test, self.classes = read_test_clips(models)
        self.files: list[Tagged] = []

    def keep(self, files: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield the files, and keep those that could be read."""
        for file in files:
            if file.scores is not None:
                self.files.append(file)
            yield file

    def write(self) -> None:
        """Compare the files, write the result, and print it to the error output."""
        from audiotagging.tagging.drift import collect, compare

        if not self.files:
            raise UserError("--drift: expected files to compare, found none that can be read; name others")
        found = compare(collect(self.files), self.test, classes=self.classes)
        with atomic_file(self.path) as incomplete:
            write_json(incomplete, asdict(found))
        print(*found.lines(), sep="\n", file=sys.stderr)


def _file_tags(
    files: Iterable[Tagged], choose: Choose, report: Report
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield every file and its best tags."""
    for file in files:
        if file.scores is None:
            report(path_text(file.path), file.reason)
        else:
            _print_notes(file.path, file.notes)
            yield path_text(file.path), [] if file.silent else choose(file.scores)


def _print_notes(path: Path, notes: Sequence[str]) -> None:
    """Print what was not used of a file to the error output."""
    if notes:
        print(f"{in_one_line(path_text(path))}: {'; '.join(notes)}", file=sys.stderr)


def _window_tags(args: argparse.Namespace, tagger: Tagger, choose: Choose, path: Path) -> Iterator[Tag]:
    """Return the best tags of every window of a file."""
    # On a terminal the results themselves show the progress.
    label = in_one_line(path.name) if args.out or not sys.stdout.isatty() else None
    source = path if args.channel is None else ChannelOf(path, args.channel)
    _print_notes(path, examine(source).notes)
    return tag_windows(
        tagger.score, choose, source, every=args.every, overlap=args.overlap, merged=args.merge, label=label
    )


def _window_rows(
    paths: Iterable[Path], tags: Callable[[Path], Iterator[Tag]], report: Report
) -> Iterator[tuple[Path, Tag]]:
    """Yield the tags of the windows of every file."""
    for path in paths:
        try:
            yield from ((path, tag) for tag in tags(path))
        except SoundError as error:
            report(path_text(path), str(error))


def _results(args: argparse.Namespace, tagger: Tagger, found: list[tuple[Path, Path]]) -> dict[Path, Path]:
    """Create the folder of results, or check an earlier one, and return the path of the result of every sound."""
    names = [(path, Path(path.name) if path == given else path.relative_to(given)) for path, given in found]
    results = result_paths(args.out, names, suffix=FORMATS[args.format].suffix)
    for result in filter(os.path.lexists, results.values()):
        check_target(result)
    options = {
        name: getattr(args, name) for name in ("every", "overlap", "merge", "top", "precision", "format", "channel")
    }
    open_results(args.out, Settings(models=tagger.networks.version(), **options))
    return results


def _write_windows(
    results: dict[Path, Path], tags: Callable[[Path], Iterator[Tag]], kind: Format, report: Report
) -> None:
    """Write the tags of the windows of every file, except where an earlier command did."""
    for path, result in track(results.items(), label="tag", total=len(results)):
        changed = last_change(path)  # before it is read
        if changed >= 0 and last_change(result) == changed:
            continue
        try:
            result.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(result) as incomplete:
                write_file(incomplete, ((path, tag) for tag in tags(path)), kind=kind)
                os.utime(incomplete, ns=(changed, changed))
        except SoundError as error:
            report(path_text(path), str(error))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            report(path_text(path), "has too long a name for a file of its tags; tag it without --out")


def _channel(text: str) -> int:
    """Return the number of a channel. 0 for all of them."""
    if text == "mix":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, or mix, found {text!r}")
    return int(text)


def _choice(args: argparse.Namespace, tagger: Tagger) -> Choose:
    """Return what chooses the tags, and say which classes it never chooses."""
    choose = choice(tagger.classes, tagger.averaging, top=args.top, precision=args.precision)
    missing = [] if args.precision is None else never_chosen(tagger.classes, tagger.averaging, args.precision)
    if missing:
        print(
            f"no threshold promises a precision of {args.precision} for {len(missing)} of {len(tagger.classes)} "
            f"classes, which are never printed: {', '.join(map(in_one_line, missing))}",
            file=sys.stderr,
        )
    return choose


def _expand(path: Path, report: Report) -> list[Path]:
    """Return the path of a file, or the paths of all sound files in a folder and its subfolders.

    Links to folders are not followed. Folders that cannot be read or have no sound files are reported.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - `Path.is_dir` raises an error for a name that is too long
        return [path]
    problems: list[OSError] = []
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=problems.append)
        for name in names
        if is_sound_path(Path(folder, name).relative_to(path))
    ]
    for error in problems:
        report(path_text(error.filename), f"cannot be read: {error.strerror}")
    if not found and not problems:
        report(path_text(path), "has no sound files")
    return sorted(found)
