//! The closing line of a campaign: the same six figures for all of them.

use std::fmt;

/// What a campaign counted. The last two have to be 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases run: kills, power cuts, corruptions, injected failures, histories.
    pub cases: u64,
    /// Records whose log call had returned.
    pub acknowledged: u64,
    /// Records found afterwards that had been acknowledged or were in flight.
    pub kept: u64,
    /// Records lost as the promise allows: inside the window of a power cut, in the bytes that were damaged, or counted
    /// as dropped.
    pub lost_within: u64,
    /// Records lost otherwise. Must be 0.
    pub lost_beyond: u64,
    /// Records found that nobody logged. Must be 0.
    pub invented: u64,
}

impl Tally {
    /// Adds the figures of another part of the campaign.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.acknowledged += other.acknowledged;
        self.kept += other.kept;
        self.lost_within += other.lost_within;
        self.lost_beyond += other.lost_beyond;
        self.invented += other.invented;
    }

    /// Prints the closing line, and fails when a record was lost beyond the promise or invented.
    ///
    /// # Panics
    /// When it was.
    pub fn close(&self, campaign: &str) {
        println!("{campaign}: {self}");
        assert_eq!(
            (self.lost_beyond, self.invented),
            (0, 0),
            "{campaign}: records lost beyond the promise, or invented"
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, acknowledged, kept, lost_within, lost_beyond, invented } = self;
        write!(
            f,
            "{cases} cases, {acknowledged} records acknowledged, {kept} kept, {lost_within} lost within the promise, \
             {lost_beyond} lost beyond it, {invented} invented"
        )
    }
}
