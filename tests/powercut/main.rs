//! Power cuts: ext4 and xfs on loop devices, shut down under load without flushing their logs.

fn main() {}
