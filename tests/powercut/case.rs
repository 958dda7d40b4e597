//! What a writer does, and when the power goes.

use std::path::Path;
use std::time::Duration;

use stepwell_engine::RunId;
use stepwell_tests::board::Stage;
use stepwell_tests::random::Random;

/// When the power goes: some time after the writer has come to a stage.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub stage: Stage,
    pub delay: Duration,
}

/// One writer and its end.
#[derive(Clone, Debug)]
pub struct Case {
    pub threads: usize,
    pub ring: u64,
    pub sync_interval: Duration,
    pub seal_deadline: Duration,
    /// Age at which records become a segment: soon, or not before the cut, so that the journal alone keeps them.
    pub segment_age: Duration,
    /// Records a millisecond and thread; 0: as fast as can be.
    pub pace: u64,
    /// What it calls besides logging.
    pub action: &'static str,
    pub moment: Moment,
}

impl Case {
    /// A random case. One in ten has the default intervals, and lasts some seconds.
    pub fn draw(random: &mut Random) -> Self {
        let defaults = random.below(10) == 0;
        let early = !defaults && random.below(2) == 0;
        let stage = match random.below(6) {
            0 => Stage::Begun,
            1 => Stage::Opened,
            2 => Stage::Started,
            3 => Stage::Logging,
            _ => Stage::Durable,
        };
        let moment = match (defaults, early) {
            (true, _) => Moment { stage: Stage::Logging, delay: Duration::from_millis(500 + random.below(3_000)) },
            (_, true) => Moment { stage, delay: Duration::from_micros(random.below(4_000)) },
            _ => Moment { stage: Stage::Logging, delay: Duration::from_micros(random.below(200_000)) },
        };
        let (sync_millis, seal_millis) =
            if defaults { (1_000, 100) } else { (5 + random.below(40), 1 + random.below(50)) };
        let in_journal = random.below(2) == 0;
        Self {
            threads: 1 + random.below(3) as usize,
            ring: if in_journal { 1 << 17 } else { 4096 << random.below(5) },
            segment_age: Duration::from_millis(if in_journal { 60_000 } else { 15 }),
            sync_interval: Duration::from_millis(sync_millis),
            seal_deadline: Duration::from_millis(seal_millis),
            pace: match (defaults, early) {
                (true, _) => 10,
                (_, true) => [0, 20, 300][random.below(3) as usize],
                _ => [5, 50, 200][random.below(3) as usize],
            },
            action: ["log", "log", "sync", "commit", "finish"][random.below(5) as usize],
            moment,
        }
    }

    /// A run that is cut off as soon as it has reported something as durable.
    pub fn first_position() -> Self {
        Self {
            threads: 1,
            ring: 4096,
            sync_interval: Duration::from_millis(10),
            seal_deadline: Duration::from_millis(1),
            segment_age: Duration::from_millis(15),
            pace: 10,
            action: "log",
            moment: Moment { stage: Stage::Durable, delay: Duration::ZERO },
        }
    }

    /// Arguments of the writer.
    pub fn arguments(&self, store: &Path, run: RunId, board: &Path) -> Vec<String> {
        vec![
            "load".to_owned(),
            store.display().to_string(),
            run.to_string(),
            board.display().to_string(),
            self.threads.to_string(),
            self.ring.to_string(),
            self.sync_interval.as_millis().to_string(),
            self.seal_deadline.as_millis().to_string(),
            self.segment_age.as_millis().to_string(),
            self.pace.to_string(),
            self.action.to_owned(),
        ]
    }
}
