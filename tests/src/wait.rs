use std::{future::Future, thread, time::Duration};

use tokio::time::Instant;

/// How often a condition that has no event is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Waits until `ready` yields a value.
///
/// # Panics
/// When it has not after `patience`.
#[track_caller]
pub fn eventually<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        thread::sleep(POLL);
    }
}

/// The same for conditions that take a client to find out.
///
/// # Panics
/// When it has not after `patience`.
pub async fn eventually_async<T, F>(what: &str, patience: Duration, mut ready: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tokio::time::sleep(POLL).await;
    }
}
