//! When a failed delivery is tried again.

use crate::clock::Clock;
use std::time::Duration;

/// Before the second try, the third, and so on: 17 h 38 min in all (contract §8).
const SCHEDULE: [u64; 8] = [5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000];

/// How long to wait after the `failure`-th try that failed (from 1); none when that was
/// the last. Spread by ±20 %, so that what failed together does not come back together.
pub(super) fn delay(clock: &Clock, failure: u32) -> Option<Duration> {
    let index = usize::try_from(failure.max(1) - 1).ok()?;
    let base = Duration::from_secs(*SCHEDULE.get(index)?);
    let dice = u32::from(u16::from_le_bytes(clock.random()));
    // 0.8 to 1.2 in steps of 0.4 / 65536.
    Some(base * 4 / 5 + base * 2 / 5 * dice / 65_536)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tries_within_a_fifth_of_the_schedule() {
        let clock = Clock::default();
        for (attempt, base) in (1..).zip(SCHEDULE) {
            for _ in 0..1_000 {
                let delay = delay(&clock, attempt).expect("there is another try").as_millis();
                let base = u128::from(base) * 1_000;
                assert!(base * 8 / 10 <= delay && delay <= base * 12 / 10, "{attempt}: {delay}");
            }
        }
        assert_eq!(delay(&clock, 9), None);
    }
}
