//! When something that was asked of the provider is asked again.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// How long one who asks has it for himself: longer than the provider is waited for.
pub(super) const CLAIM: Duration = Duration::from_mins(2);

/// The provider forgets keys after a day at the earliest. A little before, a key is not
/// trusted any more: what was done is looked up first.
/// <https://docs.stripe.com/api/idempotent_requests>
const TRUSTED: Duration = Duration::from_hours(23);

/// The first wait after an answer that did not come, and after a refusal that may pass,
/// such as money that is not there yet.
pub(super) const UNKNOWN: Duration = Duration::from_secs(10);
pub(super) const REFUSED: Duration = Duration::from_mins(10);

/// The longest wait.
const MOST: Duration = Duration::from_hours(6);

/// What is to be done about something that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the provider under this key.
    Ask { key: String },
    /// It may have been done: look it up, and if it was not, ask under this key.
    LookUp { key: String },
    /// It may have been done, and its key is not trusted any more: look it up, and if it
    /// was not, it failed.
    Judge,
}

/// `first` is when it was first asked for under this key; none when it was not.
pub(super) fn step(key: String, first: Option<Timestamp>, now: Timestamp) -> Step {
    match first {
        None => Step::Ask { key },
        Some(first) if now.since(first) < TRUSTED => Step::LookUp { key },
        Some(_) => Step::Judge,
    }
}

/// Twice as long each time.
pub(super) fn wait(first: Duration, tries: i64) -> Duration {
    let doublings = u32::try_from(tries.clamp(1, 20) - 1).unwrap_or(0);
    first.saturating_mul(1 << doublings).min(MOST)
}
