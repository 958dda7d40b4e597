//! The log call takes no more instructions than are stored in `results/instructions.json`.

use std::path::Path;
use std::process::Command;

#[test]
fn the_log_call_takes_no_more_instructions_than_stored() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/instructions.json");
    let output = Command::new(env!("CARGO_BIN_EXE_instructions")).arg("--check").arg(&stored).output().expect("runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
