//! Hands the benchmarks what only the build knows: the compiler, the profile and its level of optimisation.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let rustc = Command::new(variable("RUSTC")).arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo::rustc-env=STEPWELL_BENCH_RUSTC={rustc}");
    println!("cargo::rustc-env=STEPWELL_BENCH_PROFILE={}", variable("PROFILE"));
    println!("cargo::rustc-env=STEPWELL_BENCH_OPT_LEVEL={}", variable("OPT_LEVEL"));
}
