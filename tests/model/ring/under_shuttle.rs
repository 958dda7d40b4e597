//! Shuttle: random schedules of larger sizes, `STEPWELL_SCHEDULES` of them (1,000 by default).
//!
//! Half of them choose the next thread at random at each step, half by probabilistic concurrency testing (PCT) with one
//! to three changes of priority, which finds orders that need one thread to stay behind for long. Shuttle's
//! memory is sequentially consistent; weak orders are loom's part.

use std::sync::{Arc, Mutex};

use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use stepwell_model::scenarios::{ALL, Scenario, Size};
use stepwell_model::settings::{number, seed};
use stepwell_model::tally::Tally;

/// Most changes of priority in a schedule.
const DEPTH: u64 = 3;

const SIZES: [Size; 3] = [
    Size { capacity: 2, gates_per_lap: 1, calls: 12, looks: 10 },
    Size { capacity: 4, gates_per_lap: 2, calls: 20, looks: 12 },
    Size { capacity: 8, gates_per_lap: 8, calls: 30, looks: 16 },
];

fn play(scheduler: impl Scheduler + 'static, (_, play): Scenario, size: Size, total: &Arc<Mutex<Tally>>) {
    let total = Arc::clone(total);
    let mut config = shuttle::Config::default();
    // It warns that it takes all orderings for sequentially consistent; see above.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        let tally = play(size);
        total.lock().expect("no schedule failed before").add(&tally);
    });
}

#[test]
fn nothing_is_lost_in_random_schedules() {
    let (schedules, seed) = (number("STEPWELL_SCHEDULES", 1_000), seed("shuttle"));
    let parts = (ALL.len() * SIZES.len()) as u64;
    let total = Arc::new(Mutex::new(Tally::default()));
    for (scenario, number) in ALL.into_iter().zip(0..) {
        let before = total.lock().expect("no schedule failed").clone();
        for (size, part) in SIZES.into_iter().zip(number * SIZES.len() as u64..) {
            let share = (schedules / 2).div_ceil(parts);
            let random = RandomScheduler::new_from_seed(seed + part, share as usize);
            play(random, scenario, size, &total);
            for depth in 1..=DEPTH {
                let share = share.div_ceil(DEPTH) as usize;
                play(PctScheduler::new_from_seed(seed + part, depth as usize, share), scenario, size, &total);
            }
        }
        let after = total.lock().expect("no schedule failed");
        assert!(after.kept > before.kept, "{} logged something", scenario.0);
    }
    total.lock().expect("no schedule failed").close("shuttle");
}
