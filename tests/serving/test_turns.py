"""Who is served next, by a clock that the test moves."""

import asyncio

import pytest

from audiotagging.serving.turns import Account, TurnOverError, Turns


class Clock(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def simulate(places, works, *, turn=1.0):
    """Return when each work ends: (account, when it comes, seconds that it takes) each, and how often it began."""
    begun = [0] * len(works)

    async def work(turns, number, account, comes, takes):
        await asyncio.sleep(comes)
        seconds = turn
        while True:
            try:
                async with turns.take(account, seconds=seconds):
                    begun[number] += 1
                    await asyncio.sleep(takes)
                return asyncio.get_running_loop().time()
            except TurnOverError:
                seconds *= 4

    async def everything():
        turns, accounts = Turns(places), {name: Account() for name, *_ in works}
        each = [work(turns, number, accounts[name], *times) for number, (name, *times) in enumerate(works)]
        ends = await asyncio.gather(*each)
        assert turns._free == places and not turns._turns and not turns._waiting
        return ends

    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(everything()), begun


def test_a_long_one_is_left_alone_while_nobody_waits():
    assert simulate(1, [("a", 0, 100)]) == ([100], [1])


def test_a_short_one_waits_for_a_turn_at_most_and_the_long_one_begins_again():
    ends, begun = simulate(1, [("long", 0, 50), ("short", 0.5, 0.2), ("late", 30, 0.2)])
    assert ends == pytest.approx([30.2 + 50, 1.2, 30.2]) and begun == [3, 1, 1]


def test_a_turn_is_longer_every_time_so_that_it_ends_at_last():
    works = [("long", 0, 30), *((f"short {second}", second, 0.4) for second in range(100))]
    ends, begun = simulate(1, works)
    assert ends[0] < 100 and begun[0] <= 4


@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_form_of_many_files_takes_no_more_turns_than_another_request(places):
    ends, _ = simulate(places, [*[("form", 0, 10)] * 8, ("short", 0.1, 0.5), ("short too", 0.2, 0.5)])
    assert max(ends[8:]) <= 2.1
    assert min(ends[:8]) >= 10


def test_the_files_of_a_form_do_not_interrupt_each_other():
    ends, begun = simulate(2, [("form", 0, 10)] * 8)
    assert max(ends) == pytest.approx(40) and begun == [1] * 8


def test_the_one_that_had_least_is_next():
    works = [("much", 0, 0.9), ("first", 0, 0.9), ("much", 0.1, 0.5), ("nothing", 0.2, 0.5)]
    ends, _ = simulate(1, works)
    assert ends == pytest.approx([0.9, 1.8, 2.8, 2.3])


@pytest.mark.parametrize("gone", ["held", "waiting", "called", "all"])
def test_a_request_that_is_gone_leaves_its_place_to_the_next(gone):
    async def scenario():
        turns, done = Turns(1), []

        async def work(name):
            async with turns.take(Account(), seconds=100):
                await asyncio.sleep(1)
                done.append(name)

        works = {name: asyncio.create_task(work(name)) for name in ("held", "waiting", "last")}
        await asyncio.sleep(0.5)
        if gone == "called":
            works["held"].add_done_callback(lambda _: works["waiting"].cancel())
            await works["held"]
        for name in works if gone == "all" else ["waiting" if gone == "called" else gone]:
            works[name].cancel()  # if it was called, it does not know yet
        await asyncio.wait(works.values())
        assert turns._free == 1
        return done

    with asyncio.Runner(loop_factory=Clock) as runner:
        done = runner.run(scenario())
    left = [name for name in ("held", "waiting", "last") if name != gone.replace("called", "waiting")]
    assert done == ([] if gone == "all" else left)
