"""The options of the command `serve`, and what it does."""

import argparse
import logging
from pathlib import Path

from audiotagging.base.errors import UserError
from audiotagging.serving.app import make_app
from audiotagging.serving.limits import Limits
from audiotagging.serving.server import address_of, is_loopback, listen, serve
from audiotagging.serving.service import Service

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--models",
        required=True,
        type=Path,
        metavar="DIR",
        help="output of a run, its folder models, what `export` wrote, or a champions folder, whose champion answers",
    )
    address = parser.add_argument_group("address")
    address.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    address.add_argument("--port", type=int, default=8080, help="port (default: 8080)")
    address.add_argument(
        "--allowed-hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names by which clients call the server, beside its address and localhost, such as that of a gateway or a "
        "service; * for any name. Others are answered with status 421, because they may be those of hostile pages",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-megabytes", type=float, default=100, metavar="N", help="largest request in megabytes (default: 100)"
    )
    limits.add_argument(
        "--max-seconds", type=float, default=600, metavar="N", help="longest sound in seconds (default: 600)"
    )
    limits.add_argument(
        "--queue",
        type=int,
        default=64,
        metavar="N",
        help="largest number of sounds in progress; what comes on top is answered with status 503 (default: 64)",
    )
    limits.add_argument(
        "--drain",
        type=float,
        default=5,
        metavar="SECONDS",
        help="how long to take new requests after SIGTERM, while /readyz says no (default: 5)",
    )


def run(args: argparse.Namespace) -> int:
    """Load the models, and answer requests until the process is asked to end."""
    for option in ("max_megabytes", "max_seconds", "queue"):
        if not 0 < getattr(args, option) < 1e6:
            raise UserError(
                f"--{option.replace('_', '-')}: expected a number above 0 and below a million, found "
                f"{getattr(args, option):g}"
            )
    if not 0 <= args.drain < 1e6:
        raise UserError(f"--drain: expected a number of seconds, 0 or more, found {args.drain:g}")
    if not 0 <= args.port < 1 << 16:
        raise UserError(f"--port: expected a number from 0 to 65535, found {args.port}")
    limits = Limits(upload=round(args.max_megabytes * 1e6), seconds=args.max_seconds, queue=args.queue)
    service = Service(args.models, limits)
    hosts = [name.lower().rstrip(".") for name in args.allowed_hosts]
    with listen(args.host, args.port) as listener:
        logger.info("version %s answers at %s", service.models.current.version, address_of(listener))
        app = make_app(service, hosts=hosts, loopback=is_loopback(listener))
        serve(app, listener, drain=args.drain, ending=lambda: setattr(service, "ending", True))
    return 0
