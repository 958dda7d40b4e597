-- Executions, contexts and artifacts in ML Metadata's own terms, links between artifacts, and aliases.

-- What the execution of a run is called. `source_id` is its id in the store it was imported from, NULL where it was not.
ALTER TABLE stepwell_run ADD COLUMN execution_type TEXT NOT NULL DEFAULT '';
ALTER TABLE stepwell_run ADD COLUMN source_id INTEGER;
ALTER TABLE stepwell_run ADD COLUMN command TEXT NOT NULL DEFAULT '';
ALTER TABLE stepwell_run ADD COLUMN git_commit TEXT;
ALTER TABLE stepwell_run ADD COLUMN git_branch TEXT;
ALTER TABLE stepwell_run ADD COLUMN execution_name TEXT;
CREATE INDEX stepwell_run_execution ON stepwell_run (execution_type, execution_name, run_id) WHERE execution_name IS NOT NULL;

-- Of references that are records: `is_record` 1; direction 0 for no event; `path` is the key of the event's path; times are
-- milliseconds. `created`, `updated`, `state` and `source_id` are those of the store it was imported from.
ALTER TABLE stepwell_reference ADD COLUMN is_record INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stepwell_reference ADD COLUMN path TEXT;
ALTER TABLE stepwell_reference ADD COLUMN attributed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE stepwell_reference ADD COLUMN event_time INTEGER;
ALTER TABLE stepwell_reference ADD COLUMN created INTEGER;
ALTER TABLE stepwell_reference ADD COLUMN updated INTEGER;
ALTER TABLE stepwell_reference ADD COLUMN state INTEGER;
ALTER TABLE stepwell_reference ADD COLUMN source_id INTEGER;

-- `declared` is 1 for a property that the artifact's type declares.
DROP TABLE stepwell_reference_property;
CREATE TABLE stepwell_reference_property (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    declared INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (run_id, writer, n, declared, name)
) WITHOUT ROWID;

-- What runs say of pipelines and stages, folded in the order (time, run_id, writer, n). `stage` is empty for the pipeline itself.
CREATE TABLE stepwell_context (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    pipeline TEXT NOT NULL,
    stage TEXT NOT NULL,
    context_name TEXT NOT NULL,
    created INTEGER,
    updated INTEGER,
    source_id INTEGER,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;

CREATE INDEX stepwell_context_pipeline ON stepwell_context (pipeline, time, run_id, writer, n);
CREATE INDEX stepwell_context_name ON stepwell_context (context_name, time, run_id, writer, n);

CREATE TABLE stepwell_context_property (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (run_id, writer, n, name)
) WITHOUT ROWID;

-- One artifact came of another.
CREATE TABLE stepwell_link (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    target_id INTEGER NOT NULL,
    relation TEXT NOT NULL,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;

-- Movable names of versions; the last by (time, run_id, writer, n) counts. `artifact_id` is NULL where the alias was taken away.
CREATE TABLE stepwell_alias (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    artifact_id INTEGER,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;

CREATE INDEX stepwell_alias_name ON stepwell_alias (name, alias, time, run_id, writer, n);
