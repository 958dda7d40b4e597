//! Failing disks: full, read-only, removed, and errors injected into system calls.

fn main() {}
