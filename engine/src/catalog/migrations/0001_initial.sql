-- The catalog, version 1. First ML Metadata's schema 10, so that `ml-metadata` and `cmflib` read the file; then what only
-- Stepwell reads. Everything here is derived from the event logs of the runs.

CREATE TABLE Type (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(255) NOT NULL,
    version VARCHAR(255),
    type_kind TINYINT(1) NOT NULL,
    description TEXT,
    input_type TEXT,
    output_type TEXT,
    external_id VARCHAR(255) UNIQUE
);

CREATE TABLE TypeProperty (
    type_id INT NOT NULL,
    name VARCHAR(255) NOT NULL,
    data_type INT NULL,
    PRIMARY KEY (type_id, name)
);

CREATE TABLE ParentType (
    type_id INT NOT NULL,
    parent_type_id INT NOT NULL,
    PRIMARY KEY (type_id, parent_type_id)
);

CREATE TABLE Artifact (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    type_id INT NOT NULL,
    uri TEXT,
    state INT,
    name VARCHAR(255),
    external_id VARCHAR(255) UNIQUE,
    create_time_since_epoch INT NOT NULL DEFAULT 0,
    last_update_time_since_epoch INT NOT NULL DEFAULT 0,
    UNIQUE (type_id, name)
);

CREATE TABLE ArtifactProperty (
    artifact_id INT NOT NULL,
    name VARCHAR(255) NOT NULL,
    is_custom_property TINYINT(1) NOT NULL,
    int_value INT,
    double_value DOUBLE,
    string_value TEXT,
    byte_value BLOB,
    proto_value BLOB,
    bool_value BOOLEAN,
    PRIMARY KEY (artifact_id, name, is_custom_property)
);

CREATE TABLE Execution (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    type_id INT NOT NULL,
    last_known_state INT,
    name VARCHAR(255),
    external_id VARCHAR(255) UNIQUE,
    create_time_since_epoch INT NOT NULL DEFAULT 0,
    last_update_time_since_epoch INT NOT NULL DEFAULT 0,
    UNIQUE (type_id, name)
);

CREATE TABLE ExecutionProperty (
    execution_id INT NOT NULL,
    name VARCHAR(255) NOT NULL,
    is_custom_property TINYINT(1) NOT NULL,
    int_value INT,
    double_value DOUBLE,
    string_value TEXT,
    byte_value BLOB,
    proto_value BLOB,
    bool_value BOOLEAN,
    PRIMARY KEY (execution_id, name, is_custom_property)
);

CREATE TABLE Event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    artifact_id INT NOT NULL,
    execution_id INT NOT NULL,
    type INT NOT NULL,
    milliseconds_since_epoch INT,
    UNIQUE (artifact_id, execution_id, type)
);

CREATE TABLE EventPath (
    event_id INT NOT NULL,
    is_index_step TINYINT(1) NOT NULL,
    step_index INT,
    step_key TEXT
);

CREATE TABLE MLMDEnv (
    schema_version INTEGER PRIMARY KEY
);

CREATE TABLE Context (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    type_id INT NOT NULL,
    name VARCHAR(255) NOT NULL,
    external_id VARCHAR(255) UNIQUE,
    create_time_since_epoch INT NOT NULL DEFAULT 0,
    last_update_time_since_epoch INT NOT NULL DEFAULT 0,
    UNIQUE (type_id, name)
);

CREATE TABLE ContextProperty (
    context_id INT NOT NULL,
    name VARCHAR(255) NOT NULL,
    is_custom_property TINYINT(1) NOT NULL,
    int_value INT,
    double_value DOUBLE,
    string_value TEXT,
    byte_value BLOB,
    proto_value BLOB,
    bool_value BOOLEAN,
    PRIMARY KEY (context_id, name, is_custom_property)
);

CREATE TABLE ParentContext (
    context_id INT NOT NULL,
    parent_context_id INT NOT NULL,
    PRIMARY KEY (context_id, parent_context_id)
);

CREATE TABLE Association (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    context_id INT NOT NULL,
    execution_id INT NOT NULL,
    UNIQUE (context_id, execution_id)
);

CREATE TABLE Attribution (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    context_id INT NOT NULL,
    artifact_id INT NOT NULL,
    UNIQUE (context_id, artifact_id)
);

CREATE INDEX idx_artifact_uri ON Artifact (uri);
CREATE INDEX idx_artifact_create_time_since_epoch ON Artifact (create_time_since_epoch);
CREATE INDEX idx_artifact_last_update_time_since_epoch ON Artifact (last_update_time_since_epoch);
CREATE INDEX idx_event_execution_id ON Event (execution_id);
CREATE INDEX idx_parentcontext_parent_context_id ON ParentContext (parent_context_id);
CREATE INDEX idx_type_name ON Type (name);
CREATE INDEX idx_execution_create_time_since_epoch ON Execution (create_time_since_epoch);
CREATE INDEX idx_execution_last_update_time_since_epoch ON Execution (last_update_time_since_epoch);
CREATE INDEX idx_context_create_time_since_epoch ON Context (create_time_since_epoch);
CREATE INDEX idx_context_last_update_time_since_epoch ON Context (last_update_time_since_epoch);
CREATE INDEX idx_eventpath_event_id ON EventPath (event_id);
CREATE INDEX idx_artifact_property_int
    ON ArtifactProperty (name, is_custom_property, int_value) WHERE int_value IS NOT NULL;
CREATE INDEX idx_artifact_property_double
    ON ArtifactProperty (name, is_custom_property, double_value) WHERE double_value IS NOT NULL;
CREATE INDEX idx_artifact_property_string
    ON ArtifactProperty (name, is_custom_property, string_value) WHERE string_value IS NOT NULL;
CREATE INDEX idx_execution_property_int
    ON ExecutionProperty (name, is_custom_property, int_value) WHERE int_value IS NOT NULL;
CREATE INDEX idx_execution_property_double
    ON ExecutionProperty (name, is_custom_property, double_value) WHERE double_value IS NOT NULL;
CREATE INDEX idx_execution_property_string
    ON ExecutionProperty (name, is_custom_property, string_value) WHERE string_value IS NOT NULL;
CREATE INDEX idx_context_property_int
    ON ContextProperty (name, is_custom_property, int_value) WHERE int_value IS NOT NULL;
CREATE INDEX idx_context_property_double
    ON ContextProperty (name, is_custom_property, double_value) WHERE double_value IS NOT NULL;
CREATE INDEX idx_context_property_string
    ON ContextProperty (name, is_custom_property, string_value) WHERE string_value IS NOT NULL;
CREATE INDEX idx_type_external_id ON Type (external_id);
CREATE INDEX idx_artifact_external_id ON Artifact (external_id);
CREATE INDEX idx_execution_external_id ON Execution (external_id);
CREATE INDEX idx_context_external_id ON Context (external_id);

INSERT INTO MLMDEnv (schema_version) VALUES (10);

-- The types every store of ML Metadata starts with, then CMF's. type_kind: 0 execution, 1 artifact, 2 context.
INSERT INTO Type (id, name, type_kind) VALUES
    (1, 'mlmd.Dataset', 1),
    (2, 'mlmd.Model', 1),
    (3, 'mlmd.Metrics', 1),
    (4, 'mlmd.Statistics', 1),
    (5, 'mlmd.Train', 0),
    (6, 'mlmd.Transform', 0),
    (7, 'mlmd.Process', 0),
    (8, 'mlmd.Evaluate', 0),
    (9, 'mlmd.Deploy', 0),
    (10, 'Parent_Context', 2),
    (11, 'Pipeline_Stage', 2),
    (12, 'Environment', 1),
    (13, 'Dataset', 1),
    (14, 'Label', 1),
    (15, 'Dataslice', 1),
    (16, 'Step_Metrics', 1),
    (17, 'Model', 1),
    (18, 'Metrics', 1),
    (19, 'Validation_output', 1);

-- data_type: 1 integer, 3 text.
INSERT INTO TypeProperty (type_id, name, data_type) VALUES
    (10, 'Pipeline', 3),
    (11, 'Pipeline_Stage', 3),
    (12, 'git_repo', 3), (12, 'Commit', 3), (12, 'url', 3),
    (13, 'git_repo', 3), (13, 'Commit', 3), (13, 'url', 3),
    (14, 'git_repo', 3), (14, 'Commit', 3), (14, 'url', 3),
    (15, 'git_repo', 3), (15, 'Commit', 3), (15, 'url', 3),
    (16, 'Commit', 3), (16, 'url', 3),
    (17, 'model_framework', 3), (17, 'model_type', 3), (17, 'model_name', 3), (17, 'Commit', 3), (17, 'url', 3),
    (18, 'metrics_name', 3),
    (19, 'version', 3);

-- Ids of Stepwell are hashes below 2^52. A program that adds rows of its own gets ids above them, and what AUTOINCREMENT
-- remembers does not depend on what the catalog held before.
INSERT INTO sqlite_sequence (name, seq) VALUES
    ('Artifact', 4503599627370496),
    ('Execution', 4503599627370496),
    ('Event', 4503599627370496),
    ('Context', 4503599627370496),
    ('Association', 4503599627370496),
    ('Attribution', 4503599627370496);
UPDATE sqlite_sequence SET seq = 4503599627370496 WHERE name = 'Type';

-- Facts about the catalog itself: key and value.
CREATE TABLE stepwell_meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO stepwell_meta (key, value) VALUES ('id_salt', 0);

-- How far each event log was read. `bytes` is the length of the file then, `complete_bytes` that of its whole lines.
CREATE TABLE stepwell_log (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    complete_bytes INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    damaged_lines INTEGER NOT NULL,
    PRIMARY KEY (run_id, writer)
) WITHOUT ROWID;

-- Cache of what a scan of the runs' folders saw, so that closed runs need not be looked into. The only table whose content
-- depends on more than the event logs.
CREATE TABLE stepwell_scan (
    run_id TEXT PRIMARY KEY,
    folder_time INTEGER NOT NULL,
    closed INTEGER NOT NULL
) WITHOUT ROWID;

-- One row a run. Times are nanoseconds since the Unix epoch. `state` is what the event logs say: a run whose process was
-- killed is `running` until its journals are recovered.
CREATE TABLE stepwell_run (
    run_id TEXT PRIMARY KEY,
    execution_id INTEGER NOT NULL UNIQUE,
    context_id INTEGER NOT NULL,
    pipeline TEXT NOT NULL,
    stage TEXT NOT NULL,
    context_name TEXT NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    last_event INTEGER NOT NULL,
    git_repo TEXT
) WITHOUT ROWID;

CREATE INDEX stepwell_run_pipeline ON stepwell_run (pipeline, started);
CREATE INDEX stepwell_run_context ON stepwell_run (context_name, pipeline, started);

-- `kind` is bool, int, float or text. `value` has no affinity, so that a float stays a float; one that is not finite is text.
CREATE TABLE stepwell_param (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;

CREATE TABLE stepwell_tag (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;

CREATE TABLE stepwell_writer (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    state TEXT NOT NULL,
    started INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    version TEXT NOT NULL,
    rows INTEGER NOT NULL,
    waits INTEGER NOT NULL,
    drops INTEGER NOT NULL,
    PRIMARY KEY (run_id, writer)
) WITHOUT ROWID;

-- Position of each ring of a writer: every record below `committed` is in a segment.
CREATE TABLE stepwell_watermark (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    ring INTEGER NOT NULL,
    committed INTEGER NOT NULL,
    PRIMARY KEY (run_id, writer, ring)
) WITHOUT ROWID;

-- Published Parquet files. `file` is below the run folder; times are microseconds since the Unix epoch.
CREATE TABLE stepwell_segment (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    metrics_name TEXT NOT NULL,
    file TEXT NOT NULL,
    blake3 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    time_min INTEGER NOT NULL,
    time_max INTEGER NOT NULL
);

CREATE INDEX stepwell_segment_run ON stepwell_segment (run_id, writer, n);

-- What a segment holds of each metric. The first and last value may be NaN, which SQL cannot hold: all floats that carry data
-- are kept as the bits of their IEEE 754 form.
CREATE TABLE stepwell_segment_metric (
    segment_id INTEGER NOT NULL,
    metric TEXT NOT NULL,
    count INTEGER NOT NULL,
    non_finite INTEGER NOT NULL,
    min_bits INTEGER,
    min_step INTEGER,
    max_bits INTEGER,
    max_step INTEGER,
    first_step INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    first_bits INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_bits INTEGER NOT NULL,
    sum_bits INTEGER NOT NULL,
    PRIMARY KEY (segment_id, metric)
) WITHOUT ROWID;

-- Every commit of a metrics name. `segments` lists the numbers of the segments, separated by commas.
CREATE TABLE stepwell_metrics_commit (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    artifact_id INTEGER NOT NULL,
    metrics_name TEXT NOT NULL,
    version INTEGER NOT NULL,
    identity TEXT NOT NULL,
    rows INTEGER NOT NULL,
    segments TEXT NOT NULL,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;

-- Every use of an artifact by a run, as the run told it. Artifacts are made from these rows in the order (time, run_id,
-- writer, n). (artifact_type, uri, scope) identifies the artifact; direction: 3 input, 4 output.
CREATE TABLE stepwell_reference (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    time INTEGER NOT NULL,
    artifact_id INTEGER NOT NULL,
    artifact_type TEXT NOT NULL,
    uri TEXT NOT NULL,
    scope TEXT NOT NULL,
    direction INTEGER NOT NULL,
    name TEXT NOT NULL,
    location TEXT NOT NULL,
    bytes INTEGER,
    version INTEGER,
    PRIMARY KEY (run_id, writer, n)
) WITHOUT ROWID;

CREATE INDEX stepwell_reference_artifact ON stepwell_reference (artifact_id, time, run_id, writer, n);

CREATE TABLE stepwell_reference_property (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    n INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (run_id, writer, n, name)
) WITHOUT ROWID;

-- Losses. `origin` is 'event' with the number of the event as position, or 'log' for damage to the event log itself, counted from 0.
CREATE TABLE stepwell_gap (
    run_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    origin TEXT NOT NULL,
    position INTEGER NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ring INTEGER NOT NULL,
    records INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (run_id, writer, origin, position)
) WITHOUT ROWID;
