//! Cents, and what time costs: integers from one end to the other.

/// Milliseconds of an hour, for which prices are.
const HOUR: i128 = 3_600_000;

/// What so much time costs: begun cents count (contract §10). At most what an `i64` holds.
pub fn cost(active_millis: u64, cents_per_hour: i64) -> i64 {
    let cost = i128::from(active_millis) * i128::from(cents_per_hour.max(0));
    i64::try_from((cost + HOUR - 1) / HOUR).unwrap_or(i64::MAX)
}

/// The platform's part of it, in ten thousandths, rounded half up.
pub fn fee(cost: i64, basis_points: i64) -> i64 {
    let fee = (i128::from(cost) * i128::from(basis_points) + 5_000) / 10_000;
    i64::try_from(fee).unwrap_or(cost).clamp(0, cost.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const TENTH: i64 = 1_000;

    #[test]
    fn the_contracts_figures() {
        for (minutes, price, expected) in
            [(60, 1_000, 1_000), (90, 1_000, 1_500), (10, 1_000, 167), (6, 1_100, 110)]
        {
            assert_eq!(cost(minutes * MINUTE, price), expected, "{minutes} min at {price}");
        }
        assert_eq!((fee(167, TENTH), 167 - fee(167, TENTH)), (17, 150));
    }

    #[test]
    fn edges_of_time_and_price() {
        for (millis, price, expected) in [
            (0, 1_000, 0),
            (1, 1_000, 1),
            (3_600, 1_000, 1),
            (3_601, 1_000, 2),
            (1, 1, 1),
            (3_600_000, 1, 1),
            (3_600_001, 1, 2),
            (1_000_000, 0, 0),
            (1_000_000, -5, 0),
            (u64::MAX, i64::MAX, i64::MAX),
        ] {
            assert_eq!(cost(millis, price), expected, "{millis} ms at {price}");
        }
    }

    #[test]
    fn fee_and_payout_are_the_cost_whatever_it_is() {
        for cost in 0..=100_000 {
            let fee = fee(cost, TENTH);
            let payout = cost - fee;
            assert!(fee >= 0 && payout >= 0 && fee + payout == cost, "{cost}");
            // Half up: never more than half a cent off.
            assert!((10 * fee - cost).abs() <= 5, "{cost}: {fee}");
        }
        assert_eq!((fee(5, TENTH), fee(4, TENTH), fee(15, TENTH)), (1, 0, 2));
        assert_eq!((fee(100, 0), fee(100, 10_000), fee(i64::MAX, 10_000)), (0, 100, i64::MAX));
    }
}
