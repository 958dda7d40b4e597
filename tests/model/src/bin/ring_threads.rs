//! The scenarios between real threads, without a test harness: what ThreadSanitizer runs, whose standard library is not
//! instrumented. `STEPWELL_ROUNDS` rounds (20 by default) of `STEPWELL_CALLS` log calls (20,000 by default).

use stepwell_model::scenarios::{ALL, Size};
use stepwell_model::settings::number;
use stepwell_model::tally::Tally;

fn main() {
    let (rounds, calls) = (number("STEPWELL_ROUNDS", 20), number("STEPWELL_CALLS", 20_000));
    let mut total = Tally::default();
    for round in 0..rounds {
        let size = Size { capacity: 2 << (round % 8), gates_per_lap: 1 + round % 2, calls, looks: calls / 2 };
        for (_, play) in ALL {
            total.add(&play(size));
        }
    }
    total.close("ring between threads");
}
