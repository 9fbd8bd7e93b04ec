from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotagging.member_choice import (
    LADDER,
    MIXUP_FROM,
    ORDER,
    SHARING,
    STARTING_ROW,
    Data,
    Machine,
    choose_members,
    work,
)
from audiotagging.members import LINEAR, REFERENCE

ROOT = Path(__file__).resolve().parent.parent
MACHINES = st.builds(
    Machine,
    st.floats(0.5, 5000),
    cores=st.integers(1, 128),
    gpus=st.integers(0, 8),
    parallel=st.none() | st.integers(1, 9),
)
DATA = st.builds(Data, st.integers(1, 200_000), st.integers(0, 50_000), st.integers(1, 600), folds=st.integers(1, 5))
SMALL = Data(clips=300, scored=120, classes=10)


def total(members, data):
    return sum(work(member, scored=data.scored) for member in members) * data.folds


@given(MACHINES, DATA, st.floats(1, 1e6))
def test_the_choice_fits_the_budget_or_is_the_least_there_is(machine, data, budget):
    choice = choose_members(budget, machine=machine, data=data)
    if choice.seconds > budget:
        assert len(choice.members) == 2 and choice.members[0].size == LADDER[0].size
    ids = [member.id for member in choice.members]
    assert choice.members == REFERENCE or ids == [*ORDER[: len(ids) - 1], LINEAR]


@given(MACHINES, DATA, st.floats(30, 1e5), st.floats(1, 10))
def test_more_time_never_trains_less(machine, data, budget, factor):
    """With one lane, the time is the work: another order of the steps would waste some of it."""
    less = choose_members(budget, machine=machine, data=data)
    more = choose_members(budget * factor, machine=machine, data=data)
    assert total(more.members, data) >= total(less.members, data) * 0.999


def test_few_members_train_to_their_end_before_more_join():
    steps = [(step.members, step.size) for step in LADDER]
    assert steps == sorted(steps) and LADDER[0].members == 1
    assert min(step.crops for step in LADDER if step.members > 1) >= 1


@pytest.mark.parametrize(("budget", "mixup"), [(60, 0.0), (600, 0.0), (20_000, 1.0)])
def test_only_long_trainings_mix_crops(budget, mixup):
    """Measured at once and three times enough crops (docs/recipe.md), where mixing loses."""
    choice = choose_members(budget, machine=Machine(60, cores=2), data=SMALL)
    crops = choice.members[0].epochs * choice.members[0].epoch_size * choice.members[0].batch_size
    assert (crops > 3 * 12_800) == bool(mixup) and {member.mixup for member in choice.members[:-1]} == {mixup}


def test_the_published_members_are_the_last_step():
    choice = choose_members(1e7, machine=Machine(2000, cores=16, gpus=1), data=SMALL)
    assert choice.members == REFERENCE and str(choice).startswith("the published members")


@pytest.mark.parametrize(
    ("more", "least"), [({"clips": 5000}, 50_000), ({"classes": 80}, 51_200), ({"clips": 300}, 12_800)]
)
def test_more_clips_and_classes_need_more_crops(more, least):
    data = Data(**{"clips": 300, "scored": 120, "classes": 10} | more)
    choice = choose_members(3600, machine=Machine(100, cores=2), data=data)
    for member in choice.members[:-1]:
        assert member.epochs * member.epoch_size * member.batch_size >= 0.99 * least


def test_the_time_is_that_of_the_longest_lane():
    """Two equal rows take one core twice as long as two cores, which are a little slower together."""
    data = Data(clips=300, scored=0, classes=10, folds=2)
    least = choose_members(1, machine=Machine(1, cores=1), data=data).members
    one, two, parallel = (
        choose_members(1, machine=Machine(1, **cores), data=data).seconds
        for cores in ({"cores": 1}, {"cores": 2}, {"cores": 2, "parallel": 1})
    )
    crops = work(least[0], scored=0)
    assert one - parallel == pytest.approx(2 * crops * (1 - 1 / (2 * SHARING)), abs=2)
    assert parallel - two == pytest.approx(2 * STARTING_ROW, abs=2)


def ladder_table():
    """The steps as docs/recipe.md lists them."""
    mixed = {step: "yes" if step.crops >= MIXUP_FROM else "no" for step in LADDER}
    rows = [f"| {step.members} | {step.size} | {step.crops:g} times enough | {mixed[step]} |" for step in LADDER]
    last = f"| 6 | {REFERENCE[0].size} | the published number | yes |"
    return "\n".join(["| networks | pixels | crops of each | mixup |", "|---|---|---|---|", *rows, last])


def choice_table():
    """What several machines get in several times, as docs/recipe.md lists it."""
    budgets = {"1m": 60, "5m": 300, "30m": 1800, "4h": 14_400}
    rows = []
    for speed in (10, 30, 100, 200):
        machine = Machine(speed, cores=2)
        cells = [choose_members(seconds, machine=machine, data=SMALL) for seconds in budgets.values()]
        rows.append(
            f"| {speed} | "
            + " | ".join(str(choice).partition(", and")[0].partition(", about")[0] for choice in cells)
            + " |"
        )
    head = "| crops a second | " + " | ".join(f"`--budget {text}`" for text in budgets) + " |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


@pytest.mark.parametrize("table", [ladder_table, choice_table])
def test_the_documentation_says_what_is_chosen(table):
    assert table() in (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
