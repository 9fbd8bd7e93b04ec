"""The gate: every exception that ends a process leaves through here, in one line and with an exit code that says why.

`python -m audiotagging.base.gate MODULE ...` runs a module behind the gate. The stages of the pipeline start this way,
in subprocesses, in containers and on a cluster.
"""

import contextlib
import errno
import os
import re
import runpy
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from audiotagging.base.errors import MachineError, UserError, brief, without_secrets
from audiotagging.base.full_disk import describe, is_full
from audiotagging.base.machine import says_no_memory
from audiotagging.base.processes import begin_stage

# The exit codes, by the word that the line starts with.
CODES = {
    "error": 2,  # the user can fix it
    "out of memory": 1,
    "machine": 1,  # a GPU or its driver failed
    "defect": 70,  # EX_SOFTWARE of sysexits.h
}
PLACES = 5  # in the program that a defect without a traceback names
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
PIPE_CLOSED = 141  # 128 + SIGPIPE
LAST_LINE = re.compile(rf"({'|'.join(CODES)}): (.*)")  # of a stage that failed
# How messages of torch start if a GPU or its driver failed. Another process may be able to use them.
DEVICE = ("CUDA error", "CUDA driver error", "cuDNN error", "cuDNN Frontend error", "cuFFT error", "NCCL error")
REPORT = "this is a defect of the program, not of your input; please report it with"


def explain(error: BaseException) -> tuple[str, str]:
    """Return the key of `CODES` that an exception belongs to, and a message of one line.

    Errors of the system, such as a missing permission or a full disk, are the user's.

    Examples:
        >>> explain(UserError("x.csv: expected a table, found none"))
        ('error', 'x.csv: expected a table, found none')
        >>> explain(PermissionError(13, "Permission denied", "x.csv"))
        ('error', 'x.csv: Permission denied')
        >>> explain(KeyError("fname"))
        ('defect', "KeyError: 'fname'")
        >>> explain(RuntimeError("CUDA error: unspecified launch failure"))
        ('machine', 'CUDA error: unspecified launch failure')
    """
    if isinstance(error, RuntimeError | ImportError | MemoryError | OSError) and says_no_memory(error):
        return "out of memory", brief(str(error) or "use a machine with more memory")
    if isinstance(error, OSError) and is_full(error):
        return "error", brief(describe(error, temporary=_temporary()))
    if isinstance(error, shutil.Error):  # of `copytree`, with a list of all files
        (source, target, reason), *others = error.args[0]
        if os.strerror(errno.ENOSPC) in reason:
            return explain(OSError(errno.ENOSPC, reason, target))
        also = f" (and {len(others)} more)" if others else ""
        return "error", brief(f"{source} could not be copied: {reason}{also}")
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return "error", brief(f"{names}: {error.strerror}")
    if isinstance(error, UserError | OSError):
        return "error", brief(str(error))
    of_torch = str(error) if isinstance(error, RuntimeError) else ""
    if of_torch.startswith(DEVICE) or isinstance(error, MachineError):
        return "machine", brief(str(error))
    return "defect", brief(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def leave(error: BaseException, *, log: TextIO | None = None) -> int:
    """Print why the program ends, and return its exit code.

    Args:
        error: The exception that ends it.
        log: Where the traceback of a defect or of a failure of the machine goes. Without it, that of a defect goes to a
            new file in the folder for temporary files.
    """
    if isinstance(error, BrokenPipeError) and log is None:  # nobody reads the output any more
        return PIPE_CLOSED
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    kind, message = explain(error)
    if kind in ("defect", "machine"):
        details = without_secrets("".join(traceback.format_exception(error)))
        if log is not None:
            with contextlib.suppress(OSError):  # nothing must hide the reason
                log.write(details)
        elif kind == "defect":
            message = f"{message}; {REPORT} {_kept(details) or _place(error)}"
    say(f"{kind}: {message}")
    return CODES[kind]


def say(line: str) -> None:
    """Print a line to the error output, if somebody still reads that."""
    with contextlib.suppress(OSError):
        print(brief(line), file=sys.stderr, flush=True)


def _kept(details: str) -> str:
    """Write the traceback of a defect to a new file, and return its path, or "" where nothing can be written."""
    try:
        number, path = tempfile.mkstemp(prefix="audiotagging-", suffix=".txt")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(details)
        return path
    except OSError:
        return ""


def _place(error: BaseException) -> str:
    """Return where in the program a defect is, in place of a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-PLACES:]))
    return f"this line, because no file can be written to {_temporary()} ({lines})"


def _temporary() -> str:
    """Return the folder for temporary files, also if it cannot be written."""
    return tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp"


def through(run: Callable[[], int]) -> int:
    """Call a function that returns an exit code, and return the exit code of the process."""
    try:
        code = run()
        _finish_output()
    except (Exception, KeyboardInterrupt) as error:
        code = leave(error)
    finally:
        with contextlib.suppress(OSError):
            _finish_output()
    return code


def _finish_output() -> None:
    """Write what is in the buffers. What cannot be written is dropped, because Python would try again at its exit."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise


def prepare_process() -> None:
    """Prepare a process that a person has started, before anything else is imported.

    If the locale is not UTF-8, the process starts again in Python's UTF-8 mode, because it could not open files whose
    names are not in that locale. Closed outputs are replaced, because the next file to open would take their place.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # for names that are not UTF-8
    sys.excepthook = _end_of_imports


def _end_of_imports(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    os._exit(leave(error))


def main() -> int:
    """Run the module that the first argument names with the remaining arguments, as a stage."""
    begin_stage()
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except (Exception, KeyboardInterrupt) as error:
        return leave(error, log=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
