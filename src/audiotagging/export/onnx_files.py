"""Writes an ensemble as ONNX files that share their weights.

    MEMBER-foldK.onnx        one model: from the spectrogram of a clip to its scores
    MEMBER-foldK.onnx.data   its weights, which the next file and the last one use too
    ensemble.onnx            all models and their average
    spectrogram.onnx         from the samples of a clip to its spectrogram
    tagger.onnx              both: from the samples of a clip to its scores

torch exports the parts, each in float32. They are joined here, because the models of an ensemble may be more than the
2 GB that one ONNX file can hold, and so that no weight is stored twice.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto, helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.mels import MELS
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.artifacts.onnx_metadata import (
    ENSEMBLE,
    INPUT,
    MEMBER_SCORES,
    SCORES,
    SPECTROGRAM,
    TAGGER,
    OnnxMetadata,
)
from audiotagging.base.files import sha256
from audiotagging.base.progress import track
from audiotagging.export.graphs import ClipScores, EnsembleScores, LinearScores, Spectrogram
from audiotagging.sounds.audio import RATE
from audiotagging.sounds.spectrogram import SETTINGS
from audiotagging.training.linear_model import LinearModel
from audiotagging.training.prediction import Model

OPSET = 20
NOISY = ("torch.onnx", "onnx_ir", "onnxscript")  # loggers that tell of every step, and of packages not needed here
SAMPLES = "samples"
MEANINGS = {
    SAMPLES: "The samples of a clip: mono, 44 100 Hz, full scale is 1. At least one.",
    INPUT: "The spectrogram of a clip: bytes, the earliest frame and the lowest mel first.",
    SCORES: "The score of every class, from 0 to 1.",
    MEMBER_SCORES: "The scores of every member of the ensemble, averaged over its folds.",
}
EXAMPLE = torch.zeros(300, MELS, dtype=torch.uint8)  # the spectrogram that torch follows through a network
EXAMPLE_SAMPLES = torch.rand(4 * RATE, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Part:
    """A graph that becomes part of another one.

    Attributes:
        model: The graph.
        prefix: What its names get in front of them.
        names: The names that its inputs and outputs get instead.
    """

    model: ModelProto
    prefix: str
    names: Mapping[str, str]


def write_onnx(out: Path, *, models: Sequence[tuple[Model, ModelMetadata]], averaging: Averaging) -> None:
    """Write the files of an ensemble.

    Args:
        out: The folder, which must exist.
        models: The models, with the facts about their training. Their networks are moved to the CPU.
        averaging: How the members are averaged.
    """
    classes, recipe = models[0][0].classes, [facts for _, facts in models]
    parts, weights = [], {}
    for model, facts in track(models, label="export", total=len(models)):
        path = out / f"{facts.name}.onnx"
        data = path.with_name(f"{path.name}.data")
        network = _on_cpu(model).network
        scorer = LinearScores(network) if isinstance(network, LinearModel) else ClipScores(model)
        graph = export_graph(scorer, [EXAMPLE], inputs=[INPUT], outputs=[SCORES, MEMBER_SCORES])
        onnx.save_model(graph, path, save_as_external_data=True, location=data.name)  # the graph now refers to `data`
        shutil.copymode(path, data)  # only its owner may read what `onnx` has written
        weights[data.name] = sha256(data)
        alone = Averaging("arithmetic", {facts.member.id: 1.0})
        of_model = OnnxMetadata(classes=classes, averaging=alone, weights={data.name: weights[data.name]})
        _save(graph, path, asdict(of_model) | {"recipe": _recipe([facts])})
        parts.append(Part(graph, f"{facts.name}/", {INPUT: INPUT}))

    scores = [f"{part.prefix}{SCORES}" for part in parts]
    module = EnsembleScores(averaging, [facts.member.id for facts in recipe])
    average = export_graph(
        module, list(torch.zeros(len(parts), len(classes))), inputs=scores, outputs=[SCORES, MEMBER_SCORES]
    )
    ensemble = _join([*parts, Part(average, "average/", _same(*scores, SCORES, MEMBER_SCORES))])
    spectrogram = export_graph(Spectrogram(), [EXAMPLE_SAMPLES], inputs=[SAMPLES], outputs=[INPUT])
    first = Part(spectrogram, "spectrogram/", _same(SAMPLES, INPUT))
    tagger = _join([first, Part(ensemble, "", _same(INPUT, SCORES, MEMBER_SCORES))])

    together = asdict(OnnxMetadata(classes=classes, averaging=averaging, weights=weights)) | {"recipe": _recipe(recipe)}
    _save(ensemble, out / ENSEMBLE, together)
    _save(tagger, out / TAGGER, together)
    _save(spectrogram, out / SPECTROGRAM, {"settings": SETTINGS})


def _on_cpu(model: Model) -> Model:
    return replace(model, network=model.network.to("cpu", memory_format=torch.contiguous_format))  # type: ignore[call-overload]


def _recipe(models: Sequence[ModelMetadata]) -> list[dict[str, Any]]:
    """Return how the models were trained, without the classes, which are the same for all of them."""
    return [{key: value for key, value in asdict(facts).items() if key != "classes"} for facts in models]


def export_graph(module: nn.Module, example: list[Tensor], *, inputs: list[str], outputs: list[str]) -> ModelProto:
    """Export a module. The samples and the spectrogram of a clip may have any length."""
    lengths = {SAMPLES: "samples", INPUT: "frames"}
    shapes = [{0: torch.export.Dim(lengths[name], min=1)} if name in lengths else None for name in inputs]
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple(shapes) if any(shapes) else None,
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # they hold paths of this machine
    return program.model_proto


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _join(parts: Sequence[Part]) -> ModelProto:
    """Join graphs to one, which has the inputs of the first part and the outputs of the last."""
    joined = ModelProto()
    joined.CopyFrom(parts[0].model)
    joined.graph.Clear()
    for part in parts:
        graph = onnx.GraphProto()
        graph.CopyFrom(part.model.graph)

        def rename(name: str, part: Part = part) -> str:
            return part.names.get(name, f"{part.prefix}{name}") if name else ""  # "" is an input that is left out

        for node in graph.node:
            node.name = f"{part.prefix}{node.name}"
            node.input[:] = map(rename, node.input)
            node.output[:] = map(rename, node.output)
        for constant in graph.initializer:
            constant.name = rename(constant.name)
        joined.graph.node.extend(graph.node)
        joined.graph.initializer.extend(graph.initializer)
    joined.graph.input.extend(parts[0].model.graph.input)
    joined.graph.output.extend(parts[-1].model.graph.output)
    return joined


def _save(model: ModelProto, path: Path, content: Mapping[str, Any]) -> None:
    """Write a file with its metadata. Weights that are in files of their own stay there."""
    graph = model.graph
    graph.name = path.stem
    del graph.value_info[:]  # whoever reads the file infers the shapes
    model.producer_name = "audiotagging"
    for value in (*graph.input, *graph.output):
        value.doc_string = MEANINGS[value.name]
    about = {"opset": OPSET, "inputs": _describe(graph.input), "outputs": _describe(graph.output)}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in (about | dict(content)).items()})
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)


def _describe(values: Iterable[onnx.ValueInfoProto]) -> dict[str, dict[str, Any]]:
    """Return the type, the shape and the meaning of inputs or outputs."""
    found = {}
    for value in values:
        kind = value.type.tensor_type
        shape = [size.dim_param or size.dim_value for size in kind.shape.dim]
        name = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        found[value.name] = {"type": name, "shape": shape, "meaning": value.doc_string}
    return found
