"""Which lines of a pod's log are whose."""

import pytest
from helpers.workflows import FOLDER

from audiotagging.runs.pod_log import launcher_errors, logged_message, own_lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[KFP Executor 2026-11-22 13:50:43,000 INFO]: epoch 1 of 2", "epoch 1 of 2"),
        (
            "[KFP Executor 2026-11-22 13:50:43,000 WARNING]: Got 3 files that cannot be read",
            "Got 3 files that cannot be read",
        ),
        ("[KFP Executor 2026-11-22 13:50:43,000 INFO]: Got executor_input:", None),
        ("[KFP Executor 2026-11-22 13:50:43,000 DEBUG]: epoch 1 of 2", None),
        ("epoch 1 of 2", None),
    ],
)
def test_messages_of_the_stages_are_distinguished_from_those_of_kfp(line, message):
    assert logged_message(line) == message


def test_a_pods_log_without_what_kfp_and_its_launcher_print_is_what_the_stage_printed():
    log = (FOLDER / "refused.log").read_text().splitlines()
    own = list(own_lines([*log[:-7], "[KFP Executor 2026-11-24 10:25:21,137 WARNING]: mine", *log[-7:]]))
    assert own[0] == "mine" and own[1].startswith("error: expected a data folder") and len(own) == 2
    assert not any(text in "\n".join(own) for text in ("executor_input", "{", "launcher_v2.go", "KFP Executor"))
    assert launcher_errors(log) == [
        "Component failed to execute successfully: exit status 2",
        "failed to execute component: exit status 2",
    ]
