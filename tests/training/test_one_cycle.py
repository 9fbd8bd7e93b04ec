import numpy as np
import pytest

from audiotagging.training.one_cycle import one_cycle


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_schedule_is_two_half_cosines(steps):
    rising = int(0.3 * steps)
    up = (1 - np.cos(np.linspace(0, np.pi, rising + 1)[:-1])) / 2  # 0 to 1
    down = (1 + np.cos(np.linspace(0, np.pi, steps - rising + 1)[:-1])) / 2  # 1 to 0
    lr = np.concatenate([0.01 / 25 + up * (0.01 - 0.01 / 25), 0.01 / 25e4 + down * (0.01 - 0.01 / 25e4)])
    momentum = 0.95 - 0.1 * np.concatenate([up, down])
    actual = np.array([one_cycle(step, steps=steps, lr=0.01) for step in range(steps)])
    np.testing.assert_allclose(actual, np.stack([lr, momentum], axis=1), rtol=1e-12)
