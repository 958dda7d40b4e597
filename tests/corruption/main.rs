//! Corruption: every truncation and every damaged byte of the files of a store.

fn main() {}
