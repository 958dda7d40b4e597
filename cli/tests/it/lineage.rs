use stepwell_engine::{ArtifactSpec, Direction, RunOptions, Store};

use super::Place;

/// raw.csv -> prepare -> clean.csv -> train -> model.pkl
fn place() -> Place {
    let place = Place::new();
    let store = Store::open(place.path().join(".stepwell")).unwrap();
    for (stage, input, output) in [("prepare", "raw.csv", "clean.csv"), ("train", "clean.csv", "model.pkl")] {
        let run = store.start_run(RunOptions::new("digits", stage).name(stage)).unwrap();
        for (direction, name) in [(Direction::Input, input), (Direction::Output, output)] {
            place.write(name, name);
            run.log_artifact(direction, ArtifactSpec::new("Dataset", place.path().join(name)).name(name)).unwrap();
        }
        run.finish().unwrap();
    }
    place
}

#[test]
fn a_tree_is_drawn_as_the_locale_can_show_it() {
    let place = place();
    let draw = |locale: &str| {
        let mut command = place.command(&["lineage", "clean.csv"]);
        let output = command.env("LC_ALL", locale).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let starts = |tree: &str| -> Vec<String> {
        tree.lines().map(|line| line.split("  (").next().unwrap_or_default().to_owned()).collect()
    };
    let (unicode, ascii) = (draw("C.UTF-8"), draw("C"));
    let expected = [
        "clean.csv",
        "├─ came from",
        "│  └─ prepare",
        "│     └─ raw.csv",
        "└─ led to",
        "   └─ train",
        "      └─ model.pkl",
    ];
    assert_eq!(starts(&unicode), expected);
    let expected = [
        "clean.csv",
        "|- came from",
        "|  `- prepare",
        "|     `- raw.csv",
        "`- led to",
        "   `- train",
        "      `- model.pkl",
    ];
    assert_eq!(starts(&ascii), expected);
}

#[test]
fn every_form_goes_to_stdout_or_a_file() {
    let place = place();
    let begins = [
        ("tree", "raw.csv"),
        ("json", "{"),
        ("mermaid", "flowchart LR\n"),
        ("dot", "digraph lineage {\n"),
        ("openlineage", "{\"eventTime\""),
        ("prov", "{\n"),
        ("cypher", "MERGE (n:"),
    ];
    for (format, start) in begins {
        let ran = place.run(&["lineage", "--format", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{format}");
        assert!(ran.stdout.starts_with(start), "{format}: {}", ran.stdout);
        place.ok(&["lineage", "--format", format, "-o", "file"]);
        if format != "tree" {
            assert_eq!(std::fs::read_to_string(place.path().join("file")).unwrap(), ran.stdout, "{format}");
        }
    }
}

#[test]
fn what_is_not_there_and_what_is_not_said_have_their_exit_codes() {
    let place = place();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["lineage", "modl.pkl"], 4, "did you mean \"model.pkl\"?"),
        (&["lineage", "--pipeline", "digit"], 4, "there is no pipeline \"digit\"; did you mean \"digits\"?"),
        (&["lineage", "--depth", "1"], 2, "ARTIFACT_OR_RUN"),
        (&["lineage", "--user", "x"], 2, "--to"),
        (&["lineage", "--to"], 2, "set NEO4J_URI"),
        (&["lineage", "--to", "localhost"], 2, "write --to bolt://host:7687"),
        (&["lineage", "--to", "bolt://127.0.0.1:1"], 2, "set NEO4J_PASSWD or NEO4J_PASSWORD"),
    ];
    for (arguments, code, message) in cases {
        let mut command = place.command(arguments);
        for variable in ["NEO4J_URI", "NEO4J_USER_NAME", "NEO4J_PASSWD", "NEO4J_PASSWORD"] {
            command.env_remove(variable);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
    let mut command = place.command(&["lineage", "--to", "bolt://127.0.0.1:1"]);
    let output = command.env("NEO4J_PASSWORD", "secret").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("could not load the graph into bolt://127.0.0.1:1") && !said.contains("secret"), "{said}");
}
