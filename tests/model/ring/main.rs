//! Real threads: the short form of the checks, which needs no checker; and what Miri runs.

use stepwell_model::scenarios::{ALL, Size};
use stepwell_model::settings::number;
use stepwell_model::tally::Tally;

#[test]
fn nothing_is_lost_between_real_threads() {
    // Miri takes about a millisecond for what takes a nanosecond otherwise.
    let (rounds, calls) = if cfg!(miri) { (3, 24) } else { (20, 2_000) };
    let rounds = number("STEPWELL_ROUNDS", rounds);
    let mut total = Tally::default();
    for round in 0..rounds {
        // Rings of 2 to 16 slots: the producer meets the sealer at every turn.
        let size = Size { capacity: 2 << (round % 4), gates_per_lap: 1 + round % 2, calls, looks: calls / 4 };
        for (_, play) in ALL {
            total.add(&play(size));
        }
    }
    total.close("ring, real threads");
}
