//! When a failed delivery is tried again.

use crate::clock::Clock;
use std::time::Duration;

/// Before the second try, the third, and so on: 17 h 38 min in all (contract §8).
const SCHEDULE: [u64; 8] = [5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000];

/// How long an agent may ask to be left alone at least (`Retry-After`); it is never
/// tried sooner than it would be, nor later than twice as late or this.
const ASKED: Duration = Duration::from_hours(1);

/// How long to wait after the `failure`-th try that failed (from 1); none when that was
/// the last. Spread by ±20 %, so that what failed together does not come back together;
/// longer when the agent asked for it.
pub(super) fn delay(clock: &Clock, failure: u32, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(failure.max(1) - 1).ok()?;
    let base = Duration::from_secs(*SCHEDULE.get(index)?);
    let dice = u32::from(u16::from_le_bytes(clock.random()));
    // 0.8 to 1.2 in steps of 0.4 / 65536.
    let usual = base * 4 / 5 + base * 2 / 5 * dice / 65_536;
    Some(asked.unwrap_or_default().clamp(usual, (usual * 2).max(ASKED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tries_within_a_fifth_of_the_schedule() {
        let clock = Clock::default();
        for (attempt, base) in (1..).zip(SCHEDULE) {
            for _ in 0..1_000 {
                let delay = delay(&clock, attempt, None).expect("there is another try").as_millis();
                let base = u128::from(base) * 1_000;
                assert!(base * 8 / 10 <= delay && delay <= base * 12 / 10, "{attempt}: {delay}");
            }
        }
        assert_eq!(delay(&clock, 9, None), None);
    }

    #[test]
    fn what_is_asked_for_is_kept_within_bounds() {
        let clock = Clock::default();
        let delay = |failure, asked| delay(&clock, failure, Some(Duration::from_secs(asked)));
        let within = |found: Option<Duration>, least, most| {
            let found = found.expect("there is another try").as_secs_f64();
            assert!((least..=most).contains(&found), "{found}");
        };
        within(delay(1, 0), 4.0, 6.0);
        within(delay(1, 60), 60.0, 60.0);
        within(delay(1, u64::MAX), 3_600.0, 3_600.0);
        within(delay(7, 60), 14_400.0, 21_600.0);
        within(delay(7, u64::MAX), 28_800.0, 43_200.0);
        assert_eq!(delay(9, 60), None);
    }
}
