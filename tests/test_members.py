from dataclasses import fields

import pytest

from audiotagging.base.errors import UserError
from audiotagging.members import DEMO, ENSEMBLES, REFERENCE, Member, override, rows, select


def test_the_reference_ensemble_is_the_published_one():
    published = [
        ("xresnet18ssa", "focal", 80, 1),
        ("xresnet34ssa", "focal", 60, 1),
        ("xresnet18ssa", "bce", 80, 1),
        ("xresnet34ssa", "bce", 60, 1),
        ("xresnet34", "focal", 90, 1),
        ("xresnet50", "bce", 65, 2),
    ]
    assert [(m.network, m.loss, m.epochs, m.cycles) for m in REFERENCE] == published
    for member in REFERENCE:
        assert (member.frames, member.size, member.batch_size, member.lr, member.epoch_size) == (
            128,
            256,
            64,
            0.01,
            1000,
        )


def test_the_demo_ensemble_has_the_same_members_at_a_smaller_size():
    for demo, reference in zip(DEMO, REFERENCE, strict=True):
        assert (demo.network, demo.loss, demo.cycles) == (reference.network, reference.loss, reference.cycles)
        assert demo.size < reference.size and demo.epochs * demo.epoch_size < reference.epochs * reference.epoch_size


def test_ids_are_unique_over_all_ensembles():
    ids = [member.id for ensemble in ENSEMBLES.values() for member in ensemble]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("member", [member for ensemble in ENSEMBLES.values() for member in ensemble])
def test_a_member_survives_the_row_even_if_numbers_become_floats(member):
    (row,) = rows([member], [3])
    row = {name: float(value) if type(value) is int else value for name, value in row.items()}
    read = Member.from_row(row)
    assert read == member
    for field in fields(Member):
        assert type(getattr(read, field.name)) is field.type


def test_a_row_of_a_version_that_had_fewer_fields_gets_their_defaults():
    (row,) = rows([DEMO[0]], [3])
    del row["overlap"], row["tail"]
    assert Member.from_row(row) == DEMO[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "expected epochs to be a number from 1 to 10,000, found 0"),
        ({"f2cl": float("inf")}, "expected f2cl to be a number, found Infinity"),
        ({"network": "resnet"}, "expected network to be one of xresnet18ssa, .*, found resnet"),
        ({"lr": "fast"}, 'expected lr to be a number, found "fast"'),
        ({"tail": "false"}, 'expected tail to be true or false, found "false"'),
        ({"epochs": 2.5}, "expected epochs to be a whole number, found 2.5"),
        ({"overlap": -0.1}, "member demo-.*: expected overlap"),
        ({"id": "../x"}, "expected id to be letters, digits, dots, dashes and underscores, found ../x"),
        ({"id": ""}, "expected id to be letters"),
    ],
)
def test_a_row_out_of_range_is_refused(change, message):
    (row,) = rows([DEMO[0]], [3])
    with pytest.raises(UserError, match=message):
        Member.from_row(row | change)


def test_invalid_rows_are_refused():
    with pytest.raises(UserError, match="expected the key id, found no such key"):
        Member.from_row({"epochs": 3})
    with pytest.raises(UserError, match="expected the content to be an object, found 7"):
        Member.from_row(7)


def test_rows_are_members_times_folds():
    assert [(row["id"], row["fold"]) for row in rows(REFERENCE[:2], [0, 1])] == [
        (REFERENCE[0].id, 0),
        (REFERENCE[0].id, 1),
        (REFERENCE[1].id, 0),
        (REFERENCE[1].id, 1),
    ]


def test_select_takes_ensembles_and_ids_each_member_once():
    assert select(["demo"]) == list(DEMO)
    assert select([REFERENCE[4].id, "reference"]) == [REFERENCE[4], *REFERENCE[:4], REFERENCE[5]]
    with pytest.raises(UserError, match=r"reference, demo, xresnet18ssa-focal, .*, found 'resnet'"):
        select(["resnet"])


def test_override_parses_values_as_the_fields_type():
    member = override(REFERENCE[:1], {"epochs": "3", "lr": "1e-3", "tail": "false"})[0]
    assert (member.epochs, member.lr, member.tail) == (3, 0.001, False)
    for changes, message in [
        ({"epoch": "3"}, "fields of a member .*, found 'epoch'"),
        ({"epochs": "many"}, "expected epochs to be of type int, found 'many'"),
        ({"tail": "2"}, "expected tail to be of type bool"),
        ({"id": "x"}, "fields of a member .*, found 'id'"),
        ({"size": "31"}, "expected size to be a number from 32 to 1,024, found 31"),
        ({"batch_size": "1"}, "expected batch_size to be a number from 2 to 1,024, found 1"),
        ({"network": "resnet"}, "expected network to be one of xresnet18ssa, .*, found resnet"),
        ({"loss": "mse"}, "expected loss to be one of focal, bce, found mse"),
        ({"lr": "nan"}, "expected lr to be a number from 1e-09 to 1, found nan"),
        ({"overlap": "1"}, "expected overlap to be a number from 0 to 0.99, found 1"),
    ]:
        with pytest.raises(UserError, match=message):
            override(REFERENCE, changes)
