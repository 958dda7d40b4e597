//! Tells the module how it was built, which only the build knows.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=STEPWELL_BUILD={}, opt-level {}", variable("PROFILE"), variable("OPT_LEVEL"));
}
