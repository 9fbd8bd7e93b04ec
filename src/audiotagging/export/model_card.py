"""Writes the model card of an exported ensemble, in the format of Hugging Face. The template is in page/."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jinja2 import Environment, PackageLoader, StrictUndefined

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.calibration import TARGET_PRECISIONS
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.base.errors import in_one_line
from audiotagging.base.typed_json import read_json
from audiotagging.base.wording import number, pluralize
from audiotagging.evaluation.scores import SCORES_FILE, Estimates
from audiotagging.sounds.audio import RATE
from audiotagging.sounds.spectrogram import HOP, SHORTEST
from audiotagging.studies.student import StudentMetadata

MODEL_CARD = "MODEL_CARD.md"
SETS = {"all": "test clips", "out_of_fold": "out-of-fold clips"}


class Part(TypedDict):
    """A part of the data."""

    part: str
    clips: int
    seconds: float
    labelled: int


class Data(TypedDict):
    """The data that a run was trained and scored on."""

    parts: list[Part]


class Selection(TypedDict):
    """The noisy clips that the members were trained on."""

    clips: list[str]


class Disturbance(TypedDict):
    """The highest score of a wrong class in one kind of disturbances."""

    kind: str
    label: str
    score: float


class CardScores(TypedDict):
    """What a card says of `scores.json`."""

    data: Data
    selection: Selection
    estimates: dict[str, Estimates]
    mean_average_precision: dict[str, dict[str, float]]
    scored: NotRequired[str]
    disturbances: NotRequired[list[Disturbance]]


def _cell(text: object) -> str:
    """Return text that Markdown shows as it is, in a table too: neither HTML, nor a link or a picture, nor emphasis."""
    return MARKDOWN.sub(r"\\\g<0>", html.escape(in_one_line(str(text)), quote=False))


MARKDOWN = re.compile(r"[|\\`*\[\]]")  # with `_`, which means nothing within words, names would be hard to read

ENVIRONMENT = Environment(
    loader=PackageLoader("audiotagging.export", "page"),
    autoescape=False,  # it is Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.filters |= {
    "cell": _cell,
    "pluralize": pluralize,
    "number": number,
    "fold": lambda fold: "none" if fold < 0 else str(fold),
    "threshold": lambda score: "" if score is None else f"{score:.4f}",
    "yaml": json.dumps,  # JSON is YAML
}


def read_scores(run: Path) -> CardScores | None:
    """Read the scores of a run. Return None if there are none, as in a folder of models alone.

    Raises:
        UserError: If the file is corrupt.
    """
    return read_json(run / SCORES_FILE, CardScores) if (run / SCORES_FILE).is_file() else None


def model_card(
    models: Sequence[ModelMetadata],
    *,
    averaging: Averaging,
    scores: CardScores | None,
    student: StudentMetadata | None,
    files: Mapping[str, str],
    opset: int,
    difference: float,
) -> str:
    """Return a model card as Markdown.

    Args:
        models: The facts about the training of every model.
        averaging: How the members are averaged, and what their average means.
        scores: The scores of the run, if they are known.
        student: What the only member learned from an ensemble, if it is a student.
        files: SHA-256 digests of the exported files by name.
        opset: Version of ONNX's operators.
        difference: Largest difference between a score of ONNX Runtime and one of torch.
    """
    members = {name: [each for each in models if each.member.id == name] for name in averaging.weights}
    scored_set = scores.get("scored") if scores else None
    scored = scores["estimates"][scored_set] if scores and scored_set else None
    classes = models[0].classes
    lowest = {promised: averaging.lowest_scores(promised) for promised in TARGET_PRECISIONS}
    context: dict[str, Any] = {
        "members": members,
        "averaging": averaging,
        "classes": classes,
        "versions": _versions(models),
        "fingerprints": sorted({each.fingerprint for each in models}),
        "seeds": sorted({each.seed for each in models}),
        "devices": sorted({each.device for each in models}),
        "starts": sorted({each.start.source for each in models if each.start}),
        "student": student,
        "headline": _headline(student, scored, set_name=scored_set and SETS[scored_set]),
        "data": scores and scores["data"],
        "noisy": len(scores["selection"]["clips"]) if scores else 0,
        "disturbances": scores.get("disturbances") if scores else None,
        "scored": scored,
        "scored_set": scored_set,
        "set": scored_set and SETS[scored_set],
        "estimates": {"ensemble": scored["ensemble"], **scored["members"]} if scored else {},
        "precisions": scores["mean_average_precision"] if scores else {},
        "promises": TARGET_PRECISIONS,
        "thresholds": {promised: {label: found.get(label) for label in classes} for promised, found in lowest.items()},
        "rate": RATE,
        "shortest": SHORTEST // RATE,
        "windows": sorted({f"{each.member.frames * HOP / RATE:.2g}" for each in models}),
        "files": files,
        "opset": opset,
        "difference": difference,
    }
    return ENVIRONMENT.get_template("model_card.md.jinja").render(context)


def _headline(
    student: StudentMetadata | None, scored: Estimates | None, *, set_name: str | None
) -> dict[str, Any] | None:
    """Return the one score that the header has, if there is any."""
    if student and student["scores"]:
        compared = student["scores"]
        return {"score": compared["student"]["score"], "clips": compared["clips"], "set": SETS["all"]}
    return scored and {"score": scored["ensemble"]["score"], "clips": scored["clips"], "set": set_name}


def _versions(models: Sequence[ModelMetadata]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for each in models:
        for name, version in each.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}
