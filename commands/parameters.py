"""The pipeline's parameters as options, which `run`, `submit` and `schedule` share. `check` takes those of the data."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from audiotagging.base.errors import UserError, hide_address
from audiotagging.members import override, rows, select
from commands.budget import add_budget
from commands.reading import add_reading_options, reading_of
from commands.shares import share

# Defaults of the pipeline's parameters and of the options that set them.
DOWNLOADS = "data"
SEED = 534
NOISY = "agreement"
CORRECTIONS: list[str] = []
READING: dict[str, Any] = {}  # as found
MAX_REJECTED = 0.01
TEST_SHARE = 0.0
KEEP_AUDIO = False
VERIFY = 16
MEAN = "arithmetic"
WEIGHTS = "equal"
PROMOTION = "not-worse"
MARGIN = 0.01
IF_CHANGED = False

EVERYTHING = -1  # no fold is held out
FOLDS = range(-1, 128)  # the values that the column `fold` of a table can have
SEEDS = range(2**53)  # Kubeflow stores numbers as doubles
WARM_START = 0.25  # share of the epochs


class AddUp(argparse.Action):
    """Adds the values of an option that is given several times to each other. The first ones replace the default."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Take the values of one more occurrence of the option."""
        before = getattr(namespace, self.dest)
        given = values if before is self.default else [*before, *values]
        setattr(namespace, self.dest, list(dict.fromkeys(given)))


def add_parameters(parser: argparse.ArgumentParser, *, data_required: bool = True, budget: bool = False) -> None:
    """Add the options that become the pipeline's parameters.

    Args:
        parser: The parser to add them to.
        data_required: Whether --data is required.
        budget: Whether the time decides which members are trained, unless --members or --set do.
    """
    add_data_options(parser, required=data_required)
    add_keep_audio(parser.add_argument_group("the report"))
    training = parser.add_argument_group("training")
    training.add_argument(
        "--members",
        nargs="+",
        action=AddUp,
        default=[],
        metavar="NAME",
        help='"demo" or "reference" for all members of an ensemble, or ids of single members '
        + ("(default: those that fit into --budget)" if budget else "(default: demo)"),
    )
    if budget:
        add_budget(training)
    add_set(training, help="change fields of all members, such as epochs=10; `audiotagging members` explains them")
    training.add_argument(
        "--init",
        default="",
        metavar="PATH",
        help="start with these weights: a file (of this project, or a published network's state dict), or a folder of "
        "models, such as OUT/models; each member takes those of its network (default: new weights)",
    )
    averaging = parser.add_argument_group("averaging")
    averaging.add_argument(
        "--mean",
        choices=["arithmetic", "geometric", "rank"],
        default=MEAN,
        help="how the members are averaged (default: %(default)s)",
    )
    averaging.add_argument(
        "--weights",
        choices=["equal", "fitted"],
        default=WEIGHTS,
        help="weights of the members: equal, or fitted to the out-of-fold predictions (default: %(default)s)",
    )
    champion = parser.add_argument_group("the champion")
    champion.add_argument(
        "--champions",
        default=None,
        metavar="DIR",
        help="folder of the champion: make the new ensemble the champion unless it is worse "
        "(default: none; on a cluster, /champions)",
    )
    champion.add_argument(
        "--promote",
        choices=["better", "not-worse", "never"],
        default=PROMOTION,
        help="which ensembles become the champion: those that are better than the best champion so far, those that are "
        "not worse, or none, until `audiotagging champion accept` promotes one (default: %(default)s)",
    )
    champion.add_argument(
        "--margin",
        type=share,
        default=MARGIN,
        metavar="LWLRAP",
        help="lwlrap that a champion may lose: 'not worse' means that the 95 %% interval of the difference lies above "
        "minus this (default: %(default)s)",
    )
    champion.add_argument(
        "--warm-start",
        type=float,
        nargs="?",
        const=WARM_START,
        default=0.0,
        metavar="SHARE",
        help=f"start with the champion's weights and train this share of the epochs (without a number: {WARM_START})",
    )
    champion.add_argument(
        "--if-changed",
        action="store_true",
        default=IF_CHANGED,
        help="end after the first stage if the data, these options, the code and the champion are those of the last "
        "run that ended well",
    )


def add_notify(group: argparse._ActionsContainer) -> None:
    """Add the option that tells people how a run ended."""
    group.add_argument(
        "--notify",
        type=_url,
        default="",
        metavar="URL",
        help="post JSON to this URL when the run ends or fails: what happened, the version, its verdict and its scores "
        '(default: "" for none)',
    )


def add_mlflow(group: argparse._ActionsContainer) -> None:
    """Add the option that sends results to MLflow."""
    group.add_argument(
        "--mlflow",
        type=_url,
        default="",
        metavar="URL",
        help="send the parameters, learning curves, scores and the report to the MLflow server at this URL, to the "
        "experiment audiotagging or MLFLOW_EXPERIMENT_NAME",
    )


def add_data_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options for the data, which `check` takes too.

    Args:
        parser: The parser to add them to.
        required: Whether --data is required.
    """
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--data",
        required=required,
        help="folder or archive of labelled sounds (a folder per class, a table, or label files), zenodo:3612637, "
        "kaggle:freesound-audio-tagging-2019, or the URL of a folder in an object store",
    )
    data.add_argument(
        "--downloads",
        default=DOWNLOADS,
        metavar="DIR",
        help="folder for downloads, unpacked archives and the digests of sounds (default: %(default)s)",
    )
    data.add_argument(
        "--noisy",
        default=NOISY,
        help="noisy clips to train on: all, none, agreement (those with whose labels a linear model of the curated "
        "clips agrees), or the path of a list in the data folder (default: %(default)s)",
    )
    data.add_argument(
        "--corrections",
        nargs="+",
        action=AddUp,
        default=CORRECTIONS,
        metavar="FILE",
        help="tables of corrected labels, such as corrections.csv of the page audit.html, here or in the data folder",
    )
    data.add_argument(
        "--max-rejected",
        type=share,
        default=MAX_REJECTED,
        metavar="SHARE",
        help="share of a part's clips that may be unreadable (default: %(default)s)",
    )
    add_split_options(data)
    add_verify(data)
    data.add_argument(
        "--folds",
        type=_folds,
        action=AddUp,
        default=[EVERYTHING],
        metavar="K,...",
        help='folds to hold out in turn: 0 to 4, or those of the table; "all" or -1 trains on all clips (default: all)',
    )
    add_reading_options(parser)


def add_split_options(group: argparse._ActionsContainer) -> None:
    """Add the options that decide which clips are test clips, which `preprocess` takes too."""
    group.add_argument(
        "--test-share",
        type=share,
        default=TEST_SHARE,
        metavar="SHARE",
        help="share of the clips of every class to make test clips, if the data have none (default: %(default)s)",
    )
    group.add_argument("--seed", type=_seed, default=SEED, help="seed of every random choice (default: %(default)s)")


def add_verify(group: argparse._ActionsContainer) -> None:
    """Add the option that checks spectrograms against librosa, which `preprocess` takes too."""
    group.add_argument(
        "--verify",
        type=_count,
        default=VERIFY,
        metavar="N",
        help="number of random clips whose spectrograms are computed by librosa too, to compare them; 0 for none "
        "(default: %(default)s)",
    )


def add_set(group: argparse._ActionsContainer, *, help: str) -> None:
    """Add the option that changes fields of members."""
    group.add_argument("--set", nargs="+", action=AddUp, default=[], metavar="FIELD=VALUE", help=help)


def add_keep_audio(group: argparse._ActionsContainer) -> None:
    """Add the option that keeps excerpts of the clips, which `preprocess` takes too."""
    group.add_argument(
        "--keep-audio",
        action="store_true",
        default=KEEP_AUDIO,
        help="keep six seconds of every curated and labelled test clip (about 15 kB each), to hear them in the report",
    )


def parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Convert parsed options to the pipeline's parameters.

    Raises:
        UserError: If a member or a field does not exist, or if options contradict each other.
    """
    if not 0 <= args.warm_start <= 1:
        raise UserError(f"--warm-start: expected a share of the epochs between 0 and 1, found {args.warm_start}")
    if args.warm_start and not args.champions:
        raise UserError(
            "--warm-start starts with the champion's weights: name the folder of the champion with --champions"
        )
    if args.test_share and args.champions:
        raise UserError(
            "--test-share draws other test clips when clips are added, and the champion may have been trained on them: "
            'put the test clips into a folder test/ or a column split, or promote nothing, with --champions ""'
        )
    if args.if_changed and not args.champions:
        raise UserError(
            "--if-changed: the folder of the champion has what the last run was of; name it with --champions"
        )
    if args.warm_start and args.init:
        raise UserError("--init and --warm-start both say which weights to start with; omit one of them")
    if args.weights == "fitted" and max(args.folds) < 0:
        raise UserError("--weights fitted needs out-of-fold predictions: hold out folds with --folds 0,1,2,3,4")
    members = override(select(args.members or ["demo"]), assignments(args.set))
    if any(member.freeze_epochs for member in members) and not (args.init or args.warm_start):
        raise UserError("--set freeze_epochs keeps weights of --init or --warm-start, found neither; name weights")
    return {
        "data": args.data,
        "downloads": args.downloads,
        "rows": rows(members, args.folds),
        "seed": args.seed,
        "noisy": args.noisy,
        "corrections": args.corrections,
        "reading": reading_of(args),
        "max_rejected": args.max_rejected,
        "test_share": args.test_share,
        "keep_audio": args.keep_audio,
        "verify": args.verify,
        "mean": args.mean,
        "weights": args.weights,
        "champions": args.champions or "",
        "promotion": args.promote,
        "margin": args.margin,
        "warm_start": args.warm_start,
        "init": args.init,
        "if_changed": bool(args.champions) if args.if_changed is None else args.if_changed,  # None: by a schedule
    }


def absolute_paths(paths: Iterable[str]) -> list[str]:
    """Make the paths of files absolute if they exist here. The others stay relative to the data folder."""
    return [str(Path(path).resolve()) if Path(path).is_file() else path for path in paths]


def _url(text: str) -> str:
    """Check a URL to send something to, and never print it: those of chats are secrets, and others hold passwords."""
    hide_address(text)
    try:
        parts = urlsplit(text)
        is_right = not text or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        is_right = False
    if not is_right:
        raise argparse.ArgumentTypeError("expected a URL that begins with http:// or https:// and names a host")
    return text


def _folds(text: str) -> list[int]:
    try:
        folds = [EVERYTHING if part == "all" else int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected all, or numbers such as 0,1,2, found {text!r}") from None
    if not set(folds) <= set(FOLDS):
        raise argparse.ArgumentTypeError(f"expected folds between {FOLDS[0]} and {FOLDS[-1]}, found {text!r}")
    return list(dict.fromkeys(folds))


def _seed(text: str) -> int:
    if not (text.isdecimal() and int(text) in SEEDS):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {SEEDS[-1]}, found {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a number of clips, such as 16, or 0 for none, found {text!r}")
    return int(text)


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Split texts such as `epochs=10` into fields and their values.

    Raises:
        UserError: If a text has no equals sign, or if a field has several values.
    """
    found: dict[str, str] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set: expected FIELD=VALUE, such as epochs=10, found {text!r}")
        if found.setdefault(field, value) != value:
            raise UserError(f"--set: expected one value of {field}, found {found[field]} and {value}")
    return found
