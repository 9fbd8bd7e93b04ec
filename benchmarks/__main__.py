"""Run the benchmarks and print a table: row, ours, other, ratio."""

import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before numpy is imported: one core against one core
    os.environ.setdefault(variable, "1")

from benchmarks import onnx, preprocessing, threads, training  # noqa: E402

MODULES = {"preprocessing": preprocessing, "training": training, "onnx": onnx, "threads": threads}
ROWS = {f"{name}.{row}": run for name, module in MODULES.items() for row, run in module.ROWS.items()}


def main() -> None:
    """Run the rows named on the command line, or all rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare the speed of our code with alternatives."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"rows to run, or prefixes of their names: {', '.join(ROWS)}"
    )
    names = parser.parse_args().names
    chosen = {name: run for name, run in ROWS.items() if not names or name.startswith(tuple(names))}
    if not chosen:
        parser.error(f"expected names of rows or prefixes of {', '.join(ROWS)}, found {', '.join(names)}")
    print(f"{'row':26}{'ours':>11}{'other':>11}{'ratio':>7}  unit")
    for name, run in chosen.items():
        row = run()
        ratio = row.ours / row.other
        print(f"{name:26}{row.ours:11.2f}{row.other:11.2f}{ratio:7.2f}  {row.unit}, against {row.against}", flush=True)


if __name__ == "__main__":
    main()
