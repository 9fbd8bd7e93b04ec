"""What the metadata of an exported ONNX file say: text by key, all of it JSON (`audiotagging.export.onnx_files`).

An ensemble and a member have the same inputs and outputs, so whoever reads the metadata can score sounds with either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from audiotagging.artifacts.averaging import Averaging
from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import parse_json

ENSEMBLE = "ensemble.onnx"  # from the spectrogram of a clip to the scores of its classes; a member is MEMBER-foldK.onnx
SPECTROGRAM = "spectrogram.onnx"  # from the samples of a clip to its spectrogram
TAGGER = "tagger.onnx"  # both: from the samples of a clip to its scores
INPUT, SCORES, MEMBER_SCORES = "spectrogram", "scores", "member_scores"  # of an ensemble and a member


@dataclass(frozen=True, kw_only=True)
class OnnxMetadata:
    """What is needed to use a file.

    Attributes:
        classes: The classes, in the order of the scores.
        averaging: How the members are averaged, in the order of their scores, and what their average means.
        weights: The files beside it that hold its weights, each with its SHA-256 digest in hexadecimal digits.
    """

    classes: list[str]
    averaging: Averaging
    weights: dict[str, str]

    def __post_init__(self) -> None:
        """Check the names of the files, which may be anything where somebody else wrote the file."""
        for name in self.weights:
            if name in ("", ".", "..") or any(letter in name for letter in "/\\\0"):
                raise UserError(f"expected weights in files beside it, found the name {name[:80]!r}")


def from_metadata(metadata: Mapping[str, str], *, path: Path) -> OnnxMetadata:
    """Return what is needed to use a file.

    Args:
        metadata: The metadata of the file.
        path: The file.

    Raises:
        UserError: If the command `export` did not write them.
    """
    wanted = [field.name for field in fields(OnnxMetadata) if field.name in metadata]
    if not wanted:
        raise UserError(
            f"{path}: expected a model that `audiotagging export` wrote, found another one; name such a file"
        )
    content = ", ".join(f'"{key}": {metadata[key]}' for key in wanted)
    return parse_json(f"{{{content}}}", OnnxMetadata, source=path, advice="export the model again")
