"""Which weights a member starts with, among those that --init names."""

from dataclasses import replace

import pytest
import torch
from helpers.fabricated import fabricate_model, fabricate_run, replace_weights
from helpers.published_networks import published_state
from safetensors.torch import save, save_file

from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE, rows
from audiotagging.training.networks import NETWORKS
from audiotagging.training.starting_weights import candidates, check, choose

FOCAL, BCE = REFERENCE[0], REFERENCE[2]  # two members of the same network
OTHER = REFERENCE[1]  # of another
FINGERPRINT, SEED = "5f1d7a0c9be34c2f", 534  # of fabricated models


def models(folder, *members_and_folds):
    for member, fold in members_and_folds:
        fabricate_model(folder / f"{member.id}-fold{fold}", member, fold=fold, classes=["a", "b"])
    return folder


def chosen(folder, member, *, fold=-1, seed=SEED, fingerprint="other data"):
    start = choose(candidates(folder), member, fold=fold, seed=seed, fingerprint=fingerprint)
    return start and start.name


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        ([(FOCAL, -1), (BCE, -1)], (BCE, -1), f"{BCE.id}-fold-1"),
        ([(BCE, -1), (OTHER, -1)], (FOCAL, -1), f"{BCE.id}-fold-1"),  # another member of the network
        ([(FOCAL, 0), (FOCAL, 1), (FOCAL, 2)], (FOCAL, 1), f"{FOCAL.id}-fold1"),
        ([(FOCAL, 0), (FOCAL, 1)], (FOCAL, -1), f"{FOCAL.id}-fold0"),
        ([(FOCAL, 1), (BCE, 0)], (FOCAL, 0), f"{FOCAL.id}-fold1"),  # the member counts more than the fold
        ([(OTHER, -1)], (FOCAL, -1), None),
    ],
)
def test_a_member_takes_its_own_model_and_otherwise_one_of_its_network(tmp_path, there, wanted, expected):
    member, fold = wanted
    assert chosen(models(tmp_path / "models", *there), member, fold=fold) == expected


@pytest.mark.parametrize(
    ("trained", "fold", "seed", "fingerprint", "is_taken"),
    [
        (-1, 0, SEED, FINGERPRINT, False),  # it has learnt from all clips
        (1, 0, SEED, FINGERPRINT, False),
        (0, 0, SEED, FINGERPRINT, True),
        (0, 0, SEED + 1, FINGERPRINT, False),  # another seed, other folds
        (-1, 0, SEED, "other data", True),
        (0, -1, SEED, FINGERPRINT, True),
    ],
)
def test_a_model_that_has_seen_the_held_out_clips_is_left_out(
    tmp_path, caplog, trained, fold, seed, fingerprint, is_taken
):
    caplog.set_level("INFO")
    folder = models(tmp_path / "models", (FOCAL, trained))
    found = chosen(folder, FOCAL, fold=fold, seed=seed, fingerprint=fingerprint)
    assert found == (f"{FOCAL.id}-fold{trained}" if is_taken else None)
    assert (
        is_taken
        or f"starts with new weights: of those of --init, all have learnt from clips of fold {fold}" in caplog.text
    )


@pytest.mark.slow
def test_weights_are_found_in_a_run_a_model_a_file_and_a_folder_of_files(tmp_path):
    run = fabricate_run(tmp_path / "run", clips=4, members=[FOCAL], folds=[-1])
    name = f"{FOCAL.id}-fold-1"
    for place in (run, run / "models", run / "models" / name, run / "models" / name / "weights.safetensors"):
        assert chosen(place, FOCAL) == name
    files = tmp_path / "files"
    files.mkdir()
    torch.save(published_state("xresnet34"), files / "model5.pth")
    save_file(NETWORKS["xresnet18ssa"](8).state_dict(), files / "small.safetensors")
    (files / "notes.txt").write_text("nothing to load")
    taken = {member.id: chosen(files, member) for member in REFERENCE}
    assert taken == {
        "xresnet18ssa-focal": "small.safetensors",
        "xresnet34ssa-focal": None,
        "xresnet18ssa-bce": "small.safetensors",
        "xresnet34ssa-bce": None,
        "xresnet34-focal": "model5.pth",
        "xresnet50-bce": None,
    }
    assert chosen(files / "model5.pth", REFERENCE[4]) == "model5.pth"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "expected a file of weights or a folder of models, found nothing there"),
        (lambda path: path.mkdir(), "expected models, or files that end with .safetensors, .pth, .pt, found neither"),
    ],
)
def test_a_place_without_weights_is_named(tmp_path, make, message):
    make(tmp_path / "place")
    with pytest.raises(UserError, match=f"--init .*place: {message}"):
        candidates(tmp_path / "place")


def real_model(folder, member):
    fabricate_model(folder, member, fold=-1, classes=["a", "b"])
    replace_weights(folder, save(NETWORKS[member.network](8).state_dict()))
    return folder


def test_check_says_who_starts_with_what(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = real_model(tmp_path / "model", FOCAL)
    check(folder, rows([FOCAL, OTHER], [-1, 0]), seed=SEED)
    assert [record.getMessage() for record in caplog.records] == [
        f"{FOCAL.id} starts with the weights of {folder}",
        f"{FOCAL.id}, fold 0, starts with the weights of {folder}",
        f"{OTHER.id} starts with new weights: of those of --init, none are of its network, {OTHER.network}",
        f"{OTHER.id}, fold 0, starts with new weights: of those of --init, none are of its network, {OTHER.network}",
        "scores count only if these weights have not learnt from the clips that are scored",
    ]


def test_check_refuses_weights_that_no_member_can_use_and_damaged_ones(tmp_path):
    folder = real_model(tmp_path / "model", FOCAL)
    with pytest.raises(
        UserError, match=r"--init .*: expected weights of xresnet34, xresnet34ssa, found those of xresnet18ssa;"
    ):
        check(folder, rows([OTHER, REFERENCE[4]], [-1]), seed=SEED)
    (folder / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"expected the weights that member.json describes"):
        check(folder, rows([FOCAL], [-1]), seed=SEED)


def test_facts_of_an_earlier_version_have_no_start(tmp_path):
    models(tmp_path, (replace(FOCAL, epochs=1), -1))
    assert read_metadata(tmp_path / f"{FOCAL.id}-fold-1").start is None
