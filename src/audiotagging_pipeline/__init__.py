"""The installed command `audiotagging`: runs `pipeline.py`.

A wheel contains what a clone has beside `src` in the folder `clone` here, because the names `commands` and `components`
could be those of other packages. An editable installation uses the clone itself.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run `pipeline.py`, which ends the process with the exit code of the command."""
    here = Path(__file__).resolve().parent
    clone = here / "clone" if (here / "clone").is_dir() else here.parents[1]
    sys.path.insert(0, str(clone))
    runpy.run_path(str(clone / "pipeline.py"), run_name="__main__")
