"""What the description promises, held against requests that schemathesis makes up."""

import io

import pytest
import schemathesis
import soundfile
from helpers.tiny_ensemble import RATE, chirp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from audiotagging.serving.limits import Limits
from audiotagging.serving.openapi import document
from audiotagging.serving.options import PARAMETERS, Options


def wav(seconds, *, rate=RATE):
    content = io.BytesIO()
    soundfile.write(content, chirp(seconds, rate), rate, format="WAV")
    return content.getvalue()


# Bodies are sounds most of the time; without this, no request would reach the models.
BODIES = st.one_of(st.sampled_from([wav(0.3), wav(1, rate=8000)]), st.binary(max_size=100))
schemathesis.openapi.media_type("application/octet-stream", BODIES)
schemathesis.openapi.format("binary", BODIES)


REQUESTS = [(path, GenerationMode.POSITIVE) for path in document(Limits())["paths"]]


@pytest.mark.parametrize(("path", "mode"), [*REQUESTS, ("/tag", GenerationMode.NEGATIVE)])
def test_answers_are_those_that_are_described(served, path, mode):
    operations = schemathesis.openapi.from_url(f"{served.url}/openapi.json")[path]
    (operation,) = operations.values()

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case):
        # Whether bytes are a sound cannot be described, nor that a window is longer than its overlap.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()


def test_parameters_are_the_options_with_their_defaults():
    assert list(PARAMETERS) == list(Options.__dataclass_fields__)
    defaults = {name: each.schema.get("default") for name, each in PARAMETERS.items()}
    assert defaults == {name: getattr(Options(), name) for name in PARAMETERS}


def test_the_description_states_the_limits_of_the_server():
    answers = document(Limits(upload=2_000_000, seconds=30))["paths"]["/tag"]["post"]["responses"]
    assert "more than 2 MB" in answers["413"]["description"]
    assert "30 seconds" in answers["422"]["description"] and "60 windows" in answers["422"]["description"]
