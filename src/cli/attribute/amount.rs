//! Amounts for a person: minor units become units, by the decimals of ISO 4217.

/// Currencies without minor units.
const WITHOUT_DECIMALS: [&str; 16] =
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"];
/// Currencies with a thousand minor units.
const WITH_THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// An amount with its currency, such as `12.50 USD`.
pub(in crate::cli) fn format_amount(minor: i64, currency: &str) -> String {
    let decimals = if WITHOUT_DECIMALS.contains(&currency) {
        0
    } else if WITH_THREE_DECIMALS.contains(&currency) {
        3
    } else {
        2
    };
    let unit = 10u64.pow(decimals);
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    match decimals {
        0 => format!("{sign}{whole} {currency}"),
        decimals => format!("{sign}{whole}.{rest:0width$} {currency}", width = decimals as usize),
    }
}

/// A rate in hundredths of a percent, such as `12.5 %`.
pub(super) fn format_rate(rate_bp: u16) -> String {
    let (whole, rest) = (rate_bp / 100, rate_bp % 100);
    match rest {
        0 => format!("{whole} %"),
        rest if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        rest => format!("{whole}.{rest:02} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_have_the_decimals_of_their_currency() {
        assert_eq!(format_amount(100_000, "VND"), "100000 VND");
        assert_eq!(format_amount(-5, "USD"), "-0.05 USD");
        assert_eq!(format_amount(123_456, "IDR"), "1234.56 IDR");
        assert_eq!(format_amount(1_002, "KWD"), "1.002 KWD");
        assert_eq!([1_000, 1_250, 555, 5].map(format_rate), ["10 %", "12.5 %", "5.55 %", "0.05 %"]);
    }
}
