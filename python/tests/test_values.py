"""What may be logged as a value or a step, and what is refused without a trace."""

import decimal
import enum
import fractions
import math
import struct

import numpy as np
import pytest

from stepwell.errors import InputError, InputTypeError, StepwellError


class Tensor:
    """As much of a tensor as is needed."""

    def __init__(self, *values):
        self.values = values
        self.shape = (len(values),)

    def item(self):
        if len(self.values) != 1:
            raise RuntimeError(f"a Tensor with {len(self.values)} elements cannot be converted to Scalar")
        return self.values[0]

    def __float__(self):
        return float(self.item())


class Level(enum.IntEnum):
    HIGH = 3


GOOD = [
    (1.5, 1.5),
    (3, 3.0),
    (-3, -3.0),
    (2**53, float(2**53)),
    (-(2**53), -float(2**53)),
    (True, 1.0),
    (False, 0.0),
    (Level.HIGH, 3.0),
    (np.float64(1.5), 1.5),
    (np.float32(0.1), float(np.float32(0.1))),
    (np.float16(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (np.int8(-3), -3.0),
    (np.int64(2**53), float(2**53)),
    (np.uint64(7), 7.0),
    (np.bool_(True), 1.0),
    (np.array(2.5), 2.5),
    (np.array(2.5, dtype=np.float32), 2.5),
    (np.array([2.5]), 2.5),
    (np.array([[7]]), 7.0),
    (Tensor(4.5), 4.5),
    (Tensor(7), 7.0),
    (decimal.Decimal("0.5"), 0.5),
    (fractions.Fraction(1, 4), 0.25),
    (-0.0, -0.0),
    (5e-324, 5e-324),
    (math.inf, math.inf),
    (-math.inf, -math.inf),
]

BAD = [
    (None, InputTypeError, "None"),
    ("0.5", InputTypeError, "text"),
    (b"0.5", InputTypeError, "text"),
    (np.str_("0.5"), InputTypeError, "text"),
    (1j, InputTypeError, "complex"),
    (np.complex64(1j), InputTypeError, "complex"),
    ([1.0], InputTypeError, "sequence"),
    ((1.0,), InputTypeError, "sequence"),
    ({"a": 1.0}, InputTypeError, "dict"),
    (object(), InputTypeError, "object"),
    (lambda: 1.0, InputTypeError, "function"),
    (np.array([1.0, 2.0]), InputError, "shape"),
    (np.array([]), InputError, "shape"),
    (np.datetime64("2026-01-01"), StepwellError, "loss"),
    (2**53 + 1, InputError, "2\\*\\*53"),
    (-(2**53) - 1, InputError, "2\\*\\*53"),
    (10**400, InputError, "2\\*\\*53"),
    (np.int64(2**53 + 1), InputError, "2\\*\\*53"),
    (np.array(2**62), InputError, "2\\*\\*53"),
    (Tensor(2**60), InputError, "2\\*\\*53"),
]


@pytest.mark.parametrize("value, expected", GOOD, ids=repr)
def test_numbers_of_all_kinds_are_kept(run, rows, value, expected):
    loss = run.metric("train", "loss")
    for _ in range(2):
        run.log_metric("train", {"loss": value, "plain": 1.0}, step=0)
        loss(value, 1)
    kept = [logged for metric, _, logged in rows("train") if metric == "loss"]
    assert [struct.pack("<d", logged) for logged in kept] == [struct.pack("<d", expected)] * 4


@pytest.mark.parametrize("value, error, words", BAD, ids=lambda value: repr(value)[:30])
def test_what_is_no_number_is_refused_and_nothing_of_its_row_is_kept(run, rows, value, error, words):
    run.log_metric("train", {"before": 1.0, "loss": 1.0, "after": 1.0}, step=0)
    with pytest.raises(error, match=words) as raised:
        run.log_metric("train", {"before": 2.0, "loss": value, "after": 2.0}, step=1)
    assert "loss" in str(raised.value) and "train" in str(raised.value)
    with pytest.raises(error, match=words):
        run.metric("train", "loss")(value, 2)
    with pytest.raises(error):
        run.log({"loss": value})
    assert len(rows("train")) == 3 and rows() == []


def test_a_refused_row_does_not_use_up_a_step(run, rows):
    run.log({"x": 1.0})
    for value in (None, "text", 2**60):
        with pytest.raises(StepwellError):
            run.log({"x": value})
    run.log({"x": 2.0})
    assert rows() == [("x", 0, 1.0), ("x", 1, 2.0)]


def test_every_bit_of_a_nan_is_kept(run, store):
    import pyarrow as pa

    import stepwell

    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    run.log({"x": payload}, step=0)
    run.log({"x": np.float64(payload)}, step=1)
    values = pa.table(stepwell.sql("SELECT value FROM metrics ORDER BY seq", store))["value"].to_numpy()
    assert values.tobytes() == struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF) * 2


def test_errors_of_the_value_itself_come_through(run, rows):
    class Broken:
        def __float__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.log({"x": Broken()})
    with pytest.raises(RuntimeError, match="2 elements"):
        run.log({"x": Tensor(1.0, 2.0)})
    assert rows() == []


def test_a_value_may_log_while_it_is_converted(run, rows):
    """The conversion of a value runs code that logs to the same run and changes the very dict that is being read."""
    metrics = {"first": 1.0}

    class Nosy:
        def __float__(self):
            run.log({"inner": 7.0}, step=100)
            metrics.clear()
            metrics.update({f"other {i}": float(i) for i in range(100)})
            return 2.0

    metrics |= {"nosy": Nosy(), "last": 3.0}
    run.log(metrics, step=1)
    assert rows() == [("inner", 100, 7.0), ("first", 1, 1.0), ("nosy", 1, 2.0), ("last", 1, 3.0)]


def test_a_value_may_finish_the_run_while_it_is_converted(run, rows):
    class Final:
        def __float__(self):
            run.finish()
            return 1.0

    with pytest.raises(StepwellError, match="closed"):
        run.log({"x": Final()})
    assert rows() == []


@pytest.mark.parametrize("step", [0, -1, 2**63 - 1, -(2**63), True, np.int64(5), np.int32(-5), np.array(6)], ids=repr)
def test_steps_of_all_kinds_are_kept(run, rows, step):
    run.log({"x": 1.0}, step=step)
    run.log({"x": 1.0}, step)
    run.metric("metrics", "x")(1.0, step)
    assert [kept for _, kept, _ in rows()] == [int(step)] * 3


@pytest.mark.parametrize(
    "step, error", [(1.0, InputTypeError), ("1", InputTypeError), (2**63, InputError), (np.float32(1), InputTypeError)]
)
def test_other_steps_are_refused(run, rows, step, error):
    with pytest.raises(error, match="step"):
        run.log({"x": 1.0}, step=step)
    with pytest.raises(error, match="step"):
        run.metric("metrics", "x")(1.0, step)
    assert rows() == []


def test_repeated_and_falling_steps_are_all_kept(run, rows):
    for step in (5, 5, 3, 5, -1):
        run.log({"x": 1.0}, step=step)
    assert [step for _, step, _ in rows()] == [5, 5, 3, 5, -1]


class Several:
    """What torch does for a tensor of several elements."""

    shape = (2,)

    def numel(self):
        return 2

    def item(self):
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


def test_a_tensor_of_several_elements_is_bad_input(run):
    with pytest.raises(StepwellError, match="x"):
        run.log({"x": Several()})


def test_a_masked_value_is_not_its_fill_value(run, rows):
    with pytest.raises(StepwellError, match="x"):
        run.log({"x": np.ma.masked})
    assert rows() == []
