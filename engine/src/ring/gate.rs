//! The gate: what stops a producer.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU8, AtomicU64, Ordering};

/// Why a gate is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GateState {
    /// It is not.
    Open,
    /// The run was finished.
    Closed,
    /// This is a forked child; the ring belongs to the parent.
    Forked,
    /// The ring is used no more: the producer is to go on with the one that takes its place.
    Moved,
}

/// First index the producer may not write without its slow path; 0 once closed.
pub(crate) struct Gate {
    limit: CachePadded<AtomicU64>,
    state: AtomicU8,
}

impl Gate {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit: CachePadded::new(AtomicU64::new(limit)), state: AtomicU8::new(0) }
    }

    /// The index at which the producer has to stop.
    #[inline(always)]
    pub(crate) fn limit(&self) -> u64 {
        // Relaxed: the limit carries no data. What it lets the producer overwrite was ordered by the Acquire load of
        // `tail` when the producer computed it.
        self.limit.load(Ordering::Relaxed)
    }

    /// Moves the limit up; fails when the gate was closed in the meantime. Called by the producer alone.
    pub(crate) fn advance(&self, limit: u64) -> Result<(), GateState> {
        let current = self.limit.load(Ordering::Acquire);
        if current == 0 || self.limit.compare_exchange(current, limit, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Err(self.state());
        }
        Ok(())
    }

    /// Closes the gate for good.
    pub(crate) fn close(&self, why: GateState) {
        let _ = self.state.compare_exchange(GateState::Open as u8, why as u8, Ordering::AcqRel, Ordering::Acquire);
        // A swap and not a store: with it, that no move of the gate comes after is a matter of two read-modify-write operations,
        // of which each sees the other, and no argument about chains of them is needed.
        self.limit.swap(0, Ordering::AcqRel);
    }

    /// Whether it is closed, and why.
    pub(crate) fn state(&self) -> GateState {
        match self.state.load(Ordering::Acquire) {
            0 => GateState::Open,
            2 => GateState::Forked,
            3 => GateState::Moved,
            _ => GateState::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_stays_closed() {
        let gate = Gate::new(8);
        gate.advance(16).expect("open");
        assert_eq!(gate.limit(), 16);
        gate.close(GateState::Forked);
        gate.close(GateState::Closed);
        assert_eq!(gate.limit(), 0);
        assert_eq!(gate.advance(24), Err(GateState::Forked), "the first reason stays");
        assert_eq!(gate.limit(), 0);
    }
}
