//! The commission of a line: exact integers, rounded once.

/// The most that a value in minor units or a quantity can be: 53 bits, as every integer of the inputs.
pub(super) const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Hundredths of a percent in the whole.
const RATE_UNIT: u128 = 10_000;

/// C(kept): `value_minor` × `kept` × `rate_bp` ÷ (`quantity` × 10 000), rounded half to even.
///
/// `quantity` is at least 1, `kept` at most `quantity`, both and `value_minor` at most [`MAX_INTEGER`]: so the product
/// has at most 122 bits, and the result is at most 6.6 times the value.
pub(super) fn compute_commission_minor(value_minor: i64, kept: i64, quantity: i64, rate_bp: u16) -> i64 {
    let unsigned = |number: i64| number.clamp(0, MAX_INTEGER).unsigned_abs() as u128;
    let product = unsigned(value_minor) * unsigned(kept) * u128::from(rate_bp);
    let divisor = unsigned(quantity).max(1) * RATE_UNIT;
    let (whole, rest) = (product / divisor, product % divisor);
    let rounds_up = 2 * rest > divisor || (2 * rest == divisor && whole % 2 == 1);
    i64::try_from(whole + u128::from(rounds_up)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tie_rounds_to_the_even_neighbour_and_nothing_else_does() {
        let of_one_basis_point = |value| compute_commission_minor(value, 1, 1, 1);
        assert_eq!([5_000, 15_000, 25_000, 35_000].map(of_one_basis_point), [0, 2, 2, 4]);
        assert_eq!([4_999, 5_001, 14_999, 15_001].map(of_one_basis_point), [0, 1, 1, 2]);
    }

    #[test]
    fn the_largest_line_does_not_overflow() {
        assert_eq!(compute_commission_minor(MAX_INTEGER, MAX_INTEGER, MAX_INTEGER, 10_000), MAX_INTEGER);
        assert_eq!(compute_commission_minor(MAX_INTEGER, MAX_INTEGER, MAX_INTEGER, 2_600), 2_341_871_806_232_658);
    }

    proptest! {
        #[test]
        fn the_rounded_amount_is_at_most_half_a_minor_unit_away(
            value in 0..=MAX_INTEGER, quantity in 1..1_000_000i64, part in 0.0..=1.0f64, rate in 0..=10_000u16,
        ) {
            let kept = (quantity as f64 * part) as i64;
            let amount = compute_commission_minor(value, kept, quantity, rate);
            let exact = value as i128 * i128::from(kept) * i128::from(rate);
            let difference = i128::from(amount) * i128::from(quantity) * 10_000 - exact;
            prop_assert!(2 * difference.abs() <= i128::from(quantity) * 10_000);
            prop_assert!((0..=value).contains(&amount), "a rate of at most 100 % takes at most the value");
        }

        #[test]
        fn keeping_more_never_earns_less(value in 0..=MAX_INTEGER, quantity in 1..10_000i64, rate in 0..=10_000u16) {
            let amounts: Vec<i64> =
                (0..=quantity.min(50)).map(|kept| compute_commission_minor(value, kept, quantity, rate)).collect();
            prop_assert!(amounts.is_sorted());
            prop_assert_eq!(amounts[0], 0);
        }
    }
}
