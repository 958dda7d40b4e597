//! Processes and clocks: forks, exits, stops, stepped clocks, claims on the same run.

fn main() {}
