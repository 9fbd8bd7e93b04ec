"""Ways to damage a file, by its kind. Each is a name and a function that changes the file."""

import copy
import csv
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.champions_folder import Champion, Event
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.members import Member

Damage = tuple[str, Callable[[Path], None]]

NESTED = "[" * 100_000 + "]" * 100_000
OTHERS = {
    str: [7, None, [], {}, NESTED, "\ud800"],
    int: ["7", None, [], True, float("nan"), float("inf"), 10**400, NESTED],
    float: ["7", None, {}, False, float("nan"), -float("inf"), 10**400, NESTED],
    bool: [1, "true", None],
    list: [{}, None, "x", NESTED],
    dict: [[], None, "x", NESTED],
    type(None): [7, [], {}],
}
# Objects whose keys are data.
BY_NAME = {
    *("ensemble", "members", "estimates", "weights", "versions"),
    *("curves", "thresholds", "log_loss", "sets", "libraries"),
}
# Keys with a default, because earlier versions did not write them.
OF_LATER_VERSIONS = {
    field.name
    for kind in (Averaging, Member, ModelMetadata)
    for field in fields(kind)
    if (field.default, field.default_factory) != (MISSING, MISSING)
} | {name for kind in (Champion, Event) for name in kind.__optional_keys__}
SAMPLE = 15  # keys of a JSON file that are damaged


def damages(path: Path) -> Iterator[Damage]:
    """Yield everything that is done to a file."""
    yield from of_any_file(path)
    yield from {".json": of_json, ".parquet": of_parquet, ".safetensors": of_weights, ".csv": of_csv}[path.suffix](path)


def of_any_file(path: Path) -> Iterator[Damage]:
    content = path.read_bytes()
    for size in sorted({len(content) * quarter // 4 for quarter in range(4)} | {len(content) - 1}):
        yield f"cut to {size} bytes", partial(_write, content[:size])
    yield "random bytes", partial(_write, random.Random(1).randbytes(len(content)))
    yield "text", partial(_write, b"This is a text, not a table.\n")
    yield "an empty object", partial(_write, b"{}")
    yield "a table of one column", lambda path: pq.write_table(pa.table({"x": [1]}), path)
    yield "removed", Path.unlink
    yield "a folder", _make_folder
    yield "unreadable", partial(Path.chmod, mode=0)
    yield "a link in a circle", _make_circle
    yield "a pipe", _make_pipe


def of_json(path: Path) -> Iterator[Damage]:
    content = json.loads(path.read_text(encoding="utf-8"))
    places = list(_places(content))
    for place in random.Random(1).sample(places, min(SAMPLE, len(places))):
        *parents, last = place
        for value in OTHERS[type(_at(content, place))]:
            changed = copy.deepcopy(content)
            _at(changed, parents)[last] = value
            text = json.dumps(changed).replace(f'"{NESTED}"', NESTED)
            yield f"{place} is {str(value)[:10]!a}", partial(_write, text.encode())
        if type(last) is str and not BY_NAME.intersection(parents) and last not in OF_LATER_VERSIONS:
            changed = copy.deepcopy(content)
            del _at(changed, parents)[last]
            yield f"without {place}", partial(_write, json.dumps(changed).encode())
    text = path.read_text(encoding="utf-8").strip()
    yield "every key twice", partial(_write, f"{text[:-1]},{text[1:]}".encode())


def _places(content: Any, before: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every key, and of the first element of every list."""
    names = (
        list(content) if isinstance(content, dict) else range(min(1, len(content))) if isinstance(content, list) else ()
    )
    for name in names:
        yield (*before, name)
        yield from _places(content[name], (*before, name))


def _at(content: Any, place: tuple | list) -> Any:
    for name in place:
        content = content[name]
    return content


def of_parquet(path: Path) -> Iterator[Damage]:
    table = pq.read_table(path)
    for number, name in enumerate(table.column_names):
        column = table[name]
        others = {
            f"{name} is called x": table.rename_columns(
                [*table.column_names[:number], "x", *table.column_names[number + 1 :]]
            ),
            f"without {name}": table.drop_columns(name),
            f"{name} twice": table.append_column(name, column),
            f"{name} as text": table.set_column(number, name, pa.array(["7"] * len(table))),
            f"{name} as numbers": table.set_column(number, name, pa.array([7.5] * len(table))),
        }
        if name != "lwlrap":  # may be empty
            others[f"{name} is empty"] = table.set_column(number, name, pa.nulls(len(table), column.type))
        if pa.types.is_fixed_size_list(column.type):
            for value in (np.nan, np.inf, -0.5, 2):
                scores = column.combine_chunks().flatten().to_numpy().copy()
                scores[-1] = value
                filled = pa.FixedSizeListArray.from_arrays(scores, column.type.list_size)
                others[f"a score is {value}"] = table.set_column(number, name, filled)
            shorter = pa.FixedSizeListArray.from_arrays(scores[: len(table)], 1)
            others["one score per clip"] = table.set_column(number, name, shorter)
        for what, changed in others.items():
            yield what, partial(pq.write_table, changed.replace_schema_metadata(table.schema.metadata))
    yield "rows twice", partial(pq.write_table, pa.concat_tables([table, table]))
    yield "the first row twice", partial(pq.write_table, pa.concat_tables([table, table[:1]]))
    yield "no metadata", partial(pq.write_table, table.replace_schema_metadata({"version": "1"}))
    content = path.read_bytes()
    for place in range(4, len(content) // 2, max(1, len(content) // 20)):  # in the pages
        changed = bytearray(content)
        changed[place] ^= 0x55
        yield f"byte {place} changed", partial(_write, bytes(changed))


def of_weights(path: Path) -> Iterator[Damage]:
    """Damage weights that still are weights. The second time, their digest is that of a model of an earlier version."""
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim > 1)
    first, others = tensors[name], {other: tensor for other, tensor in tensors.items() if other != name}
    changes = {
        "renamed": others | {"x": first},
        "missing": others,
        "one more": tensors | {"x": first.clone()},
        "reshaped": others | {name: first.flatten()},
        "fewer classes": others | {name: first[1:]},
        "half": others | {name: first.half()},
        "integers": others | {name: first.to(torch.int8)},
        "NaN": others | {name: first * torch.nan},
        "infinite": others | {name: first / 0},
        "huge": others | {name: first * 1e38},
        "none": {},
    }
    for what, changed in changes.items():
        changed = {key: tensor.contiguous() for key, tensor in changed.items()}
        yield what, partial(save_file, changed)
        if what != "huge":  # only the digest tells
            yield f"{what}, of an earlier version", partial(_save_without_digest, changed)


def _save_without_digest(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path)
    facts = json.loads((path.parent / "member.json").read_text())
    del facts["sha256"]
    (path.parent / "member.json").write_text(json.dumps(facts))


def of_csv(path: Path) -> Iterator[Damage]:
    header, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    changes = {
        "a row twice": [header, *rows, rows[0]],
        "a field too many": [header, *rows[:-1], [*rows[-1], "x"]],
        "a field too few": [header, rows[0][:-1], *rows[1:]] if len(header) > 1 else [header, ["x", "y"], *rows],
        "a line of quotes": [header, ['"' * 7], *rows],
        "another header": [header, header, *rows],
    }
    for number, name in enumerate(header):
        changes[f"{name} is called x"] = [[*header[:number], "x", *header[number + 1 :]], *rows]
        for value in ("x", "", "1.5", "nan", "-5", "9" * 30) if rows[0][number].isdecimal() else ():
            row = [*rows[0][:number], value, *rows[0][number + 1 :]]
            changes[f"{name} is {value}"] = [header, row, *rows[1:]]
    for what, changed in changes.items():
        yield what, partial(_write_csv, changed)
    yield "another encoding", partial(_write, path.read_bytes() + b"\xff\xfe\n")


def _write_csv(table: list[list[str]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _make_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def restore(path: Path, original: Path) -> None:
    """Make a file what it was."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    shutil.copy(original, path)
