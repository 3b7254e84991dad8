//! The fields of a record that `--defaults`, `--column` and `--take` can name, and how a text becomes a value of each.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{import::cell::quote, model::link::record::Record, word_enum::word_enum};

word_enum! {
    /// A field that takes the text of one column. `rate_percent` is `rate_bp` in percent.
    pub(super) enum RecordField {
        Kind = "kind",
        Creator = "creator",
        CreatorType = "creator_type",
        Partner = "partner",
        Seller = "seller",
        Product = "product",
        ProductSet = "product_set",
        Campaign = "campaign",
        Plan = "plan",
        RateBp = "rate_bp",
        RatePercent = "rate_percent",
        Domain = "domain",
        Title = "title",
        Enabled = "enabled",
        Test = "test",
        Query = "query",
        AppendToken = "append_token",
    }
}

impl RecordField {
    /// The name of the field in a record.
    pub(super) const fn record_name(self) -> &'static str {
        match self {
            RecordField::RatePercent => "rate_bp",
            field => field.as_str(),
        }
    }

    /// Sets the field to the value that the text writes.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse_and_set(self, record: &mut Record, text: &str) -> Result<(), String> {
        let owned = || Some(text.to_owned());
        match self {
            RecordField::Kind => record.kind = parse_word(text)?,
            RecordField::Creator => record.creator = owned(),
            RecordField::CreatorType => record.creator_type = Some(parse_word(text)?),
            RecordField::Partner => record.partner = owned(),
            RecordField::Seller => record.seller = owned(),
            RecordField::Product => record.product = owned(),
            RecordField::ProductSet => record.product_set = owned(),
            RecordField::Campaign => record.campaign = owned(),
            RecordField::Plan => record.plan = Some(parse_word(text)?),
            RecordField::RateBp => {
                let rate = text.trim().parse().map_err(|_| format!("{} is no whole number", quote(text)))?;
                record.rate_bp = Some(rate);
            }
            RecordField::RatePercent => record.rate_bp = Some(parse_percent_as_hundredths(text)?),
            RecordField::Domain => record.domain = text.trim().to_owned(),
            RecordField::Title => record.title = owned(),
            RecordField::Enabled => record.enabled = parse_flag_or_describe(text)?,
            RecordField::Test => record.test = parse_flag_or_describe(text)?,
            RecordField::Query => record.query = parse_word(text)?,
            RecordField::AppendToken => record.append_token = parse_flag_or_describe(text)?,
        }
        Ok(())
    }
}

/// One of the words of an enum of the record.
fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.trim().to_owned())).map_err(|error| error.to_string())
}

fn parse_flag_or_describe(text: &str) -> Result<bool, String> {
    parse_flag(text).ok_or_else(|| format!("{} is neither yes nor no", quote(text)))
}

/// Yes or no in the words that exports use.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    let text = text.trim();
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&["yes", "true", "1", "on"]) {
        Some(true)
    } else if is_one_of(&["no", "false", "0", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// `12,5 %`, `12.5%` or `12.5` as 1250 hundredths of a percent.
fn parse_percent_as_hundredths(text: &str) -> Result<u32, String> {
    let error = || format!("{} is no percentage with at most two decimals, such as 12.5", quote(text));
    let number = text.trim_matches(is_space).trim_end_matches('%').trim_end_matches(is_space);
    let (whole, decimals) = number.split_once(['.', ',']).unwrap_or((number, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 4 || decimals.len() > 2 || !is_digits(whole) || !is_digits(decimals) {
        return Err(error());
    }
    if decimals.is_empty() && number.len() > whole.len() {
        return Err(error());
    }
    format!("{whole}{decimals:0<2}").parse().map_err(|_| error())
}

fn is_space(char: char) -> bool {
    char.is_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentage_has_a_point_or_a_comma_and_perhaps_a_sign() {
        for (text, hundredths) in [
            ("12,5 %", 1250),
            ("8 %", 800),
            ("12.5%", 1250),
            ("7", 700),
            ("0.05", 5),
            ("100", 10_000),
            ("8\u{a0}%", 800),
        ] {
            assert_eq!(parse_percent_as_hundredths(text), Ok(hundredths), "{text}");
        }
        for text in ["", "%", "12.345", "1,2,3", "-5", "12.", ".5", "1e3", "twelve", "99999"] {
            assert!(parse_percent_as_hundredths(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_rate_in_hundredths_can_be_written_in_percent(hundredths in 0..=10_000_u32) {
            let text = format!("{}.{:02} %", hundredths / 100, hundredths % 100);
            prop_assert_eq!(parse_percent_as_hundredths(&text), Ok(hundredths));
            prop_assert_eq!(parse_percent_as_hundredths(&text.replace('.', ",")), Ok(hundredths));
        }
    }
}
