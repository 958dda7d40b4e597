"""Bad input: a clear error, of a class that says what is wrong, and nothing lost."""

import os
import tempfile

import pytest

import stepwell
from stepwell.errors import InputError, InputTypeError, NotFoundError, QueryError, RunClosedError, StepwellError

BAD_NAMES = ["", "x" * 201, "a\0b", "a\nb", " a", "a "]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:12])
def test_names_that_cannot_be_used(run, rows, store, name):
    run.log({"good": 1.0}, step=0)
    for call in (
        lambda: run.log_metric(name, {"x": 1.0}),
        lambda: run.log_metric("train", {name: 1.0}),
        lambda: run.log({"good": 1.0, name: 1.0}),
        lambda: run.metric(name, "x"),
        lambda: run.metric("train", name),
        lambda: run.set_params({name: 1}),
        lambda: run.set_tags({name: "x"}),
        lambda: run.commit_metrics(name) if name else run.metric("", "x"),
        lambda: run.log_execution_metrics(name, {"x": 1.0}),
        lambda: stepwell.start(pipeline=name, stage="s", store=store),
        lambda: stepwell.start(pipeline="p", stage=name, store=store),
    ):
        with pytest.raises((ValueError, LookupError)) as raised:
            call()
        assert isinstance(raised.value, StepwellError) and str(raised.value)
    assert rows() == [("good", 0, 1.0)] and rows("train") == []


@pytest.mark.parametrize("key", [3, None, b"x", ("a",), 1.5], ids=repr)
def test_keys_and_names_must_be_text(run, rows, key):
    with pytest.raises(InputTypeError, match="str"):
        run.log({"good": 1.0, key: 1.0})
    with pytest.raises(InputTypeError, match="str"):
        run.log_metric(key, {"x": 1.0})
    with pytest.raises(TypeError):
        run.metric("train", key)
    assert rows() == []


def test_text_that_is_not_unicode(run):
    with pytest.raises(InputError, match="Unicode"):
        run.log({"\ud800": 1.0})


@pytest.mark.parametrize("metrics", [None, 0.5, "loss", [("loss", 0.5)], {"loss"}], ids=repr)
def test_metrics_must_be_a_dict(run, rows, metrics):
    with pytest.raises(TypeError, match="dict|mapping|items"):
        run.log(metrics)
    assert rows() == []


def test_params_and_tags_of_other_types(run):
    with pytest.raises(InputTypeError, match="object"):
        run.set_params({"x": object()})
    with pytest.raises(InputError, match="64 bits"):
        run.set_params({"x": 2**64})
    with pytest.raises(InputTypeError, match="'?team"):
        run.set_tags({"team": 3})
    with pytest.raises(InputTypeError):
        run.set_params(3)
    loop = {}
    loop["self"] = loop
    with pytest.raises(InputError, match="nested"):
        run.set_params(loop)


def test_a_closed_run(store):
    run = stepwell.start(pipeline="p", stage="s", store=store)
    loss = run.metric("train", "loss")
    run.log({"x": 1.0})
    run.finish()
    for call in (
        lambda: run.log({"x": 1.0}),
        lambda: run.log_metric("train", {"x": 1.0}),
        lambda: loss(1.0),
        lambda: run.metric("train", "other"),
        lambda: run.commit_metrics("train"),
        lambda: run.set_params({"x": 1}),
        lambda: run.sync(),
        lambda: run.__enter__(),
    ):
        with pytest.raises(RunClosedError, match="closed"):
            call()
    assert len(stepwell.sql("SELECT * FROM metrics", store)) == 1


def test_options_of_start(store):
    with pytest.raises(InputError, match="never"):
        stepwell.start(pipeline="p", stage="s", store=store, when_full="never")
    with pytest.raises(InputError, match="run id"):
        stepwell.start(pipeline="p", stage="s", store=store, run_id="not a uuid")
    with pytest.raises(StepwellError):
        stepwell.start(pipeline="p", stage="s", store=store, rank=-1)


def test_a_store_path_that_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="file"):
        stepwell.start(pipeline="p", stage="s", store=file)
    with pytest.raises(StepwellError, match="file"):
        stepwell.sql("SELECT 1", file)
    assert file.read_text() == "x"


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="STEPWELL_STORE"):
        stepwell.sql("SELECT 1", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def as_nobody(work):
    """Runs `work` in a forked child without the rights of root, and gives what it returned as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            told = work()
        except BaseException as error:
            told = f"unexpected {error!r}"
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def test_a_read_only_store():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        store = os.path.join(folder, "store")
        with stepwell.start(pipeline="p", stage="s", store=store) as run:
            run.log({"x": 1.0})
        for parent, folders, files in os.walk(store):
            os.chmod(parent, 0o555)
            for file in files:
                os.chmod(os.path.join(parent, file), 0o444)

        def work():
            try:
                stepwell.start(pipeline="p", stage="s", store=store)
            except stepwell.errors.ReadOnlyError as error:
                assert isinstance(error, OSError)
                return f"refused: {error}; rows: {stepwell.sql('SELECT value FROM metrics', store).rows}"
            return "it was written to"

        told = as_nobody(work)
        for parent, folders, files in os.walk(store):
            os.chmod(parent, 0o755)
    assert told.startswith("refused") and "read-only" in told and told.endswith("rows: [(1.0,)]"), told


@pytest.mark.parametrize(
    "query, words",
    [
        ("", "no SQL"),
        ("SELEC 1", "parse"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM metrics", "nothing"),
        ("SELECT 1; SELECT 2", "one query"),
        ("DROP TABLE metrics", "only reads"),
        ("INSERT INTO metrics VALUES (1)", "only reads"),
        ("CREATE TABLE x AS SELECT 1", "only reads"),
        ("COPY metrics TO 'x.parquet'", "only reads"),
        ("SELECT 1/0", "zero"),
    ],
)
def test_sql_that_has_no_answer(store, run, query, words):
    run.log({"x": 1.0})
    with pytest.raises(QueryError, match=words) as raised:
        stepwell.sql(query, store)
    assert isinstance(raised.value, ValueError)
    assert len(stepwell.sql("SELECT * FROM metrics", store)) == 1


def test_a_damaged_segment_is_named(store):
    with stepwell.start(pipeline="p", stage="s", store=store) as run:
        run.log({"x": 1.0})
    with stepwell.start(pipeline="p", stage="s", store=store) as other:
        other.log({"x": 2.0})
    path = stepwell.sql(f"SELECT path FROM segments WHERE run_id = '{run.id}'", store).rows[0][0]
    file = path if os.path.isabs(path) else os.path.join(store, path)
    with open(file, "r+b") as segment:
        segment.seek(20)
        byte = segment.read(1)
        segment.seek(20)
        segment.write(bytes([byte[0] ^ 1]))
    with pytest.raises(stepwell.errors.CorruptionError, match=os.path.basename(file)):
        stepwell.sql("SELECT * FROM metrics", store)
    told = stepwell.sql("SELECT value FROM metrics", store, skip_damaged=True)
    assert told.rows == [(2.0,)]
    assert os.path.basename(file) in told.warnings[0]


def test_timeouts(store, run):
    for step in range(1000):
        run.log({"x": float(step)})
    slow = "SELECT count(*) FROM metrics a, metrics b, metrics c WHERE a.value + b.value > c.value"
    with pytest.raises(StepwellError, match="stopped"):
        stepwell.sql(slow, store, timeout=0.2)
    with pytest.raises(InputError, match="timeout"):
        stepwell.sql("SELECT 1", store, timeout=-1)
