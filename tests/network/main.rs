//! File systems that must not be mapped: the journal in node-local scratch, segments in the store.

fn main() {}
