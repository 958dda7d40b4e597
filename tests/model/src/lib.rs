//! The lock-free part of the engine under checkers: the very sources of `engine/src/ring`, compiled with the atomics of
//! loom, shuttle or the standard library, over plain memory in place of the mapped journal.
//!
//! | checker | what it plays | what it sees |
//! |---|---|---|
//! | loom | every order of the steps of 2 to 4 threads, rings of 2 and 4 slots | weak memory orders, races on [the shadow], wrong records |
//! | shuttle | random schedules, rings of 2 to 8 slots | wrong records, in longer histories |
//! | ThreadSanitizer | real threads, rings of 2 to 256 slots | races on the shadow; wrong records |
//! | Miri | real threads, some weak memory orders | undefined behaviour; races on the shadow; wrong records |
//!
//! [the shadow]: a plain word beside each slot, which belongs to whom the slot belongs; `src/shadow.rs`.
//!
//! # Commands
//!
//! Each has a target folder of its own, here `$T`, because features and flags differ from the workspace's.
//!
//! ```text
//! cargo test --locked -p stepwell-model --features loom --test ring-loom --target-dir $T -- --nocapture
//!     STEPWELL_PREEMPTIONS=3 and --include-ignored: the full form
//! cargo test --locked -p stepwell-model --features shuttle --test ring-shuttle --target-dir $T -- --nocapture
//!     STEPWELL_SCHEDULES=100000: the full form; STEPWELL_SEED repeats one
//! RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" TSAN_OPTIONS=halt_on_error=1 \
//!     cargo run --locked -p stepwell-model --bin ring-threads --target x86_64-unknown-linux-gnu --target-dir $T/tsan
//!     STEPWELL_ROUNDS, STEPWELL_CALLS: how much
//! cargo +nightly miri test --locked -p stepwell-model --test ring --target-dir $T/miri
//!     MIRIFLAGS=-Zmiri-many-seeds=0..64: the full form
//! ```
//!
//! # They can fail
//!
//! Each of these was done to `engine/src/ring`, and the short form of every checker run on it: L loom, S shuttle (1,000
//! schedules), T ThreadSanitizer (8 rounds), R the test with real threads.
//!
//! | mutation | caught by | as |
//! |---|---|---|
//! | commit word stored Relaxed | L T | race: the sealer reads a shadow that the producer writes |
//! | `is_written` loads Relaxed | L T | the same |
//! | `read` loads the commit word Relaxed | L | a reader finds a commit word without its payload |
//! | commit word stored before the value | L S T | the record does not fit its check |
//! | `recycle` stores the tail before it clears | L S T | a record written in the next lap is cleared |
//! | `recycle` stores the tail Relaxed | L T | race: the producer writes a shadow that the sealer resets |
//! | the producer loads the tail Relaxed | L T | the same |
//! | `recycle` clears one slot past the watermark | L S T | a committed record is gone |
//! | `clear` leaves the commit word | L S T R | a record of the last lap is found again |
//! | the gate is moved without compare-and-exchange | L | a call that begins after `finish` is let in |
//! | `close` sets the limit before the reason | L S | a call is refused by an open gate |
//! | `close` stores the limit Relaxed | L | the same |
//! | the second reason to close replaces the first | L S T R | a call was told the other one |
//! | the gate one slot too far | L S T R | a slot is written before it was handed back |
//! | `head_from` does not stop after a lap | L S T R | the head is more than a lap ahead |
//! | `log` does not look at the gate | L S T R | a slot is written before it was handed back |
//!
//! # Not covered
//!
//! What lies outside `engine/src/ring`: the locks of the writer, the order of segment, event and hand-back (the kill
//! campaign has them), the mapping itself, and readers in other processes, which read the file by system calls. Loom
//! takes no load to see a store that comes later in the program order of another thread (load buffering), and the
//! bounded tests no order with more preemptions than said in their closing lines.

pub mod scenarios;
#[path = "../../src/settings.rs"]
pub mod settings;
#[path = "../../src/tally.rs"]
pub mod tally;

mod journal;
#[allow(dead_code, unused_imports, reason = "the engine uses all of it")]
#[path = "../../../engine/src/ring/mod.rs"]
mod ring;
mod shadow;
mod sides;
mod sync;
