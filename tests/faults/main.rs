//! Failing disks: full, without inodes, read-only, gone, or with an error at any system call. Training goes on and ends
//! with its own exit code; what was logged is there afterwards, or was told as lost.
//!
//! `STEPWELL_INJECTIONS` sets the number of failures injected into system calls (40 by default, 1,920 and more
//! in `make faults`; a sample of some 7,000: each call, error and position, once or lasting), and into those of compactions half as
//! many; `STEPWELL_SEED` repeats a campaign.

mod compaction;
mod ended;
mod full;
mod inject;
mod limits;
mod recovery;
mod training;
mod vanished;
