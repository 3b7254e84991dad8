//! The formats by name, and the table of each.

use crate::{
    import::{column::FormatSpec, csv_formats, json_formats},
    word_enum::word_enum,
};

word_enum! {
    /// The export of a product.
    pub enum Format {
        /// Bitly's API.
        BitlyJson = "bitly-json",
        /// Bitly's web site.
        BitlyCsv = "bitly-csv",
        /// Dub's API.
        DubJson = "dub-json",
        /// Dub's web site.
        DubCsv = "dub-csv",
        /// Shlink's API.
        ShlinkJson = "shlink-json",
        /// Shlink's web client.
        ShlinkWebCsv = "shlink-web-csv",
        /// The table that Shlink imports.
        ShlinkCsv = "shlink-csv",
        /// A dump of YOURLS' database.
        YourlsSql = "yourls-sql",
        /// A table of YOURLS.
        YourlsCsv = "yourls-csv",
        /// Kutt's API.
        KuttJson = "kutt-json",
        /// Rebrandly's API.
        RebrandlyJson = "rebrandly-json",
        /// Short.io's API.
        ShortIoJson = "short-io-json",
        /// Pretty Links for WordPress.
        PrettyLinksCsv = "pretty-links-csv",
        /// ThirstyAffiliates for WordPress.
        ThirstyAffiliatesCsv = "thirsty-affiliates-csv",
        /// Any table with a header.
        Csv = "csv",
    }
}

impl Format {
    /// The table of the format.
    pub(super) const fn spec(self) -> &'static FormatSpec {
        match self {
            Format::BitlyJson => &json_formats::BITLY,
            Format::BitlyCsv => &csv_formats::BITLY,
            Format::DubJson => &json_formats::DUB,
            Format::DubCsv => &csv_formats::DUB,
            Format::ShlinkJson => &json_formats::SHLINK,
            Format::ShlinkWebCsv => &csv_formats::SHLINK_WEB,
            Format::ShlinkCsv => &csv_formats::SHLINK_IMPORT,
            Format::YourlsSql => &csv_formats::YOURLS_SQL,
            Format::YourlsCsv => &csv_formats::YOURLS,
            Format::KuttJson => &json_formats::KUTT,
            Format::RebrandlyJson => &json_formats::REBRANDLY,
            Format::ShortIoJson => &json_formats::SHORT_IO,
            Format::PrettyLinksCsv => &csv_formats::PRETTY_LINKS,
            Format::ThirstyAffiliatesCsv => &csv_formats::THIRSTY_AFFILIATES,
            Format::Csv => &csv_formats::ANY_TABLE,
        }
    }
}
