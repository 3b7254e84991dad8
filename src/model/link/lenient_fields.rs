//! Fields of a record that are taken in more forms than one: `null` for an absent field, and dates beyond the last one
//! that `jiff` holds, which people and databases write for "never".

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// Deserializes a value; `null` is the default.
pub(super) fn deserialize_null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Deserializes a time of RFC 3339. A time beyond [`Timestamp::MAX`] (9999-12-30, 22:00 UTC) becomes that.
pub(super) fn deserialize_time_and_clamp<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse() {
        Ok(time) => Ok(Some(time)),
        Err(_) if is_valid_time_of_far_year(&text) => Ok(Some(Timestamp::MAX)),
        Err(error) => Err(de::Error::custom(error)),
    }
}

/// Whether only the year, 9999 or later, hinders this time from being one.
fn is_valid_time_of_far_year(text: &str) -> bool {
    let written = text.strip_prefix('+').unwrap_or(text);
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (year, rest) = written.split_at(digits);
    // A year of up to nine digits is what Java writes; every fourth year before 9999 is a leap year but for 9900.
    let stand_in = match year.parse::<u32>() {
        Ok(9999) => "9995",
        Ok(10_000..) if digits <= 9 => "9996",
        _ => return false,
    };
    format!("{stand_in}{rest}").parse::<Timestamp>().is_ok()
}
