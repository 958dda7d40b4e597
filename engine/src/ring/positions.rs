//! Arithmetic of ring positions, free of memory and threads.

/// Records that fit between the producer at `index` and the sealer's `tail`.
pub(crate) fn room(index: u64, tail: u64, capacity: u64) -> u64 {
    (tail + capacity).saturating_sub(index)
}

/// Where the producer at `index` has to stop for its slow path next: at the end of the free part, and at least every
/// `stride` records, so that the sealer is woken in time.
pub(crate) fn next_gate(index: u64, tail: u64, capacity: u64, stride: u64) -> u64 {
    debug_assert!(stride > 0);
    (tail + capacity).min((index / stride + 1) * stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_never_lets_a_producer_over_the_tail() {
        let (capacity, stride) = (16, 4);
        for tail in 0..40 {
            for index in tail..=tail + capacity {
                let gate = next_gate(index, tail, capacity, stride);
                assert!(gate <= tail + capacity);
                assert!(gate >= index);
                assert_eq!(gate == index, room(index, tail, capacity) == 0, "no progress only when full");
                assert!(gate - index <= stride);
            }
        }
    }
}
