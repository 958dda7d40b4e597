//! Trying again, a bounded number of times, with growing pauses.

use std::time::Duration;

use crate::error::Result;

/// Most times that something is tried.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Longest silence of a remote.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Does something until it succeeds, fails for good, or was tried [`ATTEMPTS_MAX`] times. `work` is told which attempt it is.
pub(crate) async fn retry<T>(mut work: impl AsyncFnMut(u32) -> Result<T>) -> Result<T> {
    let mut pause = PAUSE_FIRST;
    let mut attempt = 0;
    loop {
        match work(attempt).await {
            Err(error) if error.is_retryable() && attempt + 1 < ATTEMPTS_MAX => {
                // Spread, so that many that failed together do not come back together.
                let spread = uuid::Uuid::now_v7().as_bytes()[15];
                tokio::time::sleep(pause.mul_f64(0.5 + f64::from(spread) / 512.0)).await;
                pause = (pause * 3).min(PAUSE_MAX);
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// How long sending so many bytes may take at the very most: half a minute, and a second for each 64 KiB.
pub(crate) fn patience(bytes: u64) -> Duration {
    Duration::from_secs(30 + bytes / (64 << 10))
}
