//! The URL template of a destination: the checked URL without its placeholders, and where each value belongs.
//!
//! # The bytes of a template
//!
//! ```text
//!   flags u8: query policy 0-1, place of the token 2-3, placeholders 4, allow-list 5, fragment 6, query 7
//!   with "fragment":     u16 where the fragment starts; parameters are added in front of it, else at the end
//!   with "placeholders": u8 count (bit 7: names follow), then for each: u16 offset in the text, u8 number of its name
//!                        (bit 7: in the path, bit 6: in a URL inside a value)
//!   with names:          u8 count of the names of `{query:NAME}`, then each behind its length u8
//!   with "allow-list":   u16 length, then the names, joined by '&'
//!   the URL's text without its placeholders
//! ```

use std::ops::Range;

use crate::{
    links::{
        destination::{
            parameter_name::may_backend_read_as_same_name,
            placeholder::{KnownValue, Placeholder, PlaceholderKind},
            query,
        },
        facts::{Fact, FactSet},
    },
    model::{link::QueryPolicy, link_parameter::LinkParameter},
    uri::host::find_scheme_and_host,
};

pub(super) const QUERY_POLICY_BITS: u8 = 3;
const TOKEN_PLACE_SHIFT: u8 = 2;
const TOKEN_PLACE_BITS: u8 = 3 << TOKEN_PLACE_SHIFT;
pub(super) const HAS_PLACEHOLDERS: u8 = 1 << 4;
pub(super) const HAS_ALLOW_LIST: u8 = 1 << 5;
pub(super) const HAS_FRAGMENT: u8 = 1 << 6;
pub(super) const HAS_QUERY: u8 = 1 << 7;
/// Set in the count of placeholders if names of parameters follow.
pub(super) const HAS_QUERY_NAMES: u8 = 1 << 7;

/// Where a destination has the click's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenPlace {
    /// Nowhere.
    None = 0,
    /// In a parameter that is appended.
    Appended = 1,
    /// The same, but only with an answer that does not set the cookie: the cookie reaches the destination's host.
    AppendedWithoutCookie = 2,
    /// In the placeholders of the URL.
    Placeholders = 3,
}

impl TokenPlace {
    /// Whether the token's parameter may be appended.
    pub(super) const fn may_be_appended(self) -> bool {
        matches!(self, TokenPlace::Appended | TokenPlace::AppendedWithoutCookie)
    }

    /// The bits of the place in a template's flags.
    pub(super) const fn flag_bits(self) -> u8 {
        (self as u8) << TOKEN_PLACE_SHIFT
    }
}

/// A destination's URL template, borrowed from its link.
#[derive(Clone, Copy, Debug)]
pub struct UrlTemplate<'a> {
    pub(super) flags: u8,
    /// Where parameters are added: in front of the fragment.
    pub(super) insert_at: usize,
    placeholders: &'a [u8],
    /// Each behind its length.
    query_names: &'a [u8],
    allowed_names: &'a [u8],
    pub(super) text: &'a [u8],
}

impl<'a> UrlTemplate<'a> {
    /// The template in these bytes. Bytes that are no template give an empty one.
    pub fn from_bytes(bytes: &'a [u8]) -> UrlTemplate<'a> {
        let empty =
            UrlTemplate { flags: 0, insert_at: 0, placeholders: &[], query_names: &[], allowed_names: &[], text: &[] };
        UrlTemplate::try_from_bytes(bytes).unwrap_or(empty)
    }

    fn try_from_bytes(bytes: &'a [u8]) -> Option<UrlTemplate<'a>> {
        let (&flags, mut rest) = bytes.split_first()?;
        let mut insert_at = usize::MAX;
        let (mut placeholders, mut query_names, mut allowed_names) = (&[][..], &[][..], &[][..]);
        if flags & HAS_FRAGMENT != 0 {
            let (at, behind) = rest.split_first_chunk::<2>()?;
            (insert_at, rest) = (usize::from(u16::from_le_bytes(*at)), behind);
        }
        if flags & HAS_PLACEHOLDERS != 0 {
            let (count, behind) = rest.split_first()?;
            let len = usize::from(*count & !HAS_QUERY_NAMES) * Placeholder::ENCODED_LEN;
            (placeholders, rest) = behind.split_at_checked(len)?;
            if *count & HAS_QUERY_NAMES != 0 {
                (query_names, rest) = split_names(rest)?;
            }
        }
        if flags & HAS_ALLOW_LIST != 0 {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            (allowed_names, rest) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        }
        let insert_at = insert_at.min(rest.len());
        Some(UrlTemplate { flags, insert_at, placeholders, query_names, allowed_names, text: rest })
    }

    /// Where the destination has the click's token.
    pub fn token_place(&self) -> TokenPlace {
        match self.flags >> TOKEN_PLACE_SHIFT & 3 {
            0 => TokenPlace::None,
            1 => TokenPlace::Appended,
            2 => TokenPlace::AppendedWithoutCookie,
            _ => TokenPlace::Placeholders,
        }
    }

    /// Whether some values of the click stand in the URL.
    pub fn has_placeholders(&self) -> bool {
        !self.placeholders.is_empty()
    }

    /// The URL in its normal form, without its placeholders.
    pub fn text_without_placeholders(&self) -> &'a [u8] {
        self.text
    }

    /// The host of a page of the web, in lower case; `None` if an app opens the URL.
    pub fn web_host(&self) -> Option<&'a str> {
        let parts = find_scheme_and_host(self.text)?;
        matches!(parts.scheme, b"http" | b"https").then(|| str::from_utf8(parts.host).ok())?
    }

    /// What becomes of the incoming query.
    pub fn query_policy(&self) -> QueryPolicy {
        match self.flags & QUERY_POLICY_BITS {
            0 => QueryPolicy::StoredWins,
            1 => QueryPolicy::IncomingWins,
            _ => QueryPolicy::Drop,
        }
    }

    /// The URL in its normal form with the placeholders in braces, as a person writes it.
    pub fn to_url_text_with_placeholders(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for placeholder in self.placeholders() {
            let at = placeholder.offset();
            out.push_str(&String::from_utf8_lossy(&self.text[from..at]));
            match placeholder.kind() {
                PlaceholderKind::Query { index } => {
                    out.push_str(&format!("{{query:{}}}", String::from_utf8_lossy(self.query_name(index))));
                }
                _ => out.push_str(&format!("{{{}}}", placeholder.name())),
            }
            from = at;
        }
        out.push_str(&String::from_utf8_lossy(&self.text[from..]));
        out
    }

    /// This template of a domain's target with the rules of a link's own one: what becomes of the incoming query, and
    /// that no token is appended.
    pub fn with_rules_of(self, own: &UrlTemplate<'a>) -> UrlTemplate<'a> {
        const RULES: u8 = QUERY_POLICY_BITS | HAS_ALLOW_LIST;
        let flags = self.flags & !RULES | own.flags & RULES;
        let takes_no_token = own.token_place() == TokenPlace::None && self.token_place().may_be_appended();
        let flags = if takes_no_token { flags & !TOKEN_PLACE_BITS } else { flags };
        UrlTemplate { flags, allowed_names: own.allowed_names, ..self }
    }

    /// The placeholders, in the order of their offsets.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = Placeholder> + 'a {
        let (placeholders, _) = self.placeholders.as_chunks::<{ Placeholder::ENCODED_LEN }>();
        placeholders.iter().map(|bytes| Placeholder::decode(*bytes))
    }

    /// The name of a parameter of `{query:NAME}`; empty if there is none.
    pub(super) fn query_name(&self, index: u8) -> &'a [u8] {
        let mut rest = self.query_names;
        for _ in 0..index {
            let Some((_, behind)) = split_name(rest) else { return &[] };
            rest = behind;
        }
        split_name(rest).map_or(&[], |(name, _)| name)
    }

    /// The facts about a click that the placeholders ask for; `None` if no placeholder needs what is known of a click.
    pub fn asked_facts(&self) -> Option<FactSet> {
        let mut asked = None;
        for placeholder in self.placeholders() {
            let PlaceholderKind::Known(value) = placeholder.kind() else { continue };
            let facts: &mut FactSet = asked.get_or_insert_default();
            match value {
                KnownValue::Device => facts.insert(Fact::Device),
                KnownValue::Os => facts.insert(Fact::Os),
                KnownValue::Country => facts.insert(Fact::Country),
                KnownValue::Language => facts.insert(Fact::Language),
                KnownValue::Source => facts.insert(Fact::Source),
                KnownValue::ClickMs | KnownValue::Code => {}
            }
        }
        asked
    }

    /// The placeholders in a range of the text, those at both of its ends included.
    pub(super) fn placeholders_in(&self, range: &Range<usize>) -> impl Iterator<Item = Placeholder> + 'a {
        let (start, end) = (range.start, range.end);
        self.placeholders().filter(move |placeholder| (start..=end).contains(&placeholder.offset()))
    }

    /// Whether the stored parameter at `range` holds the click's id or token. Such a parameter is never replaced.
    pub(super) fn identifies_click(&self, range: &Range<usize>) -> bool {
        self.placeholders_in(range)
            .any(|placeholder| matches!(placeholder.kind(), PlaceholderKind::ClickId | PlaceholderKind::ClickToken))
    }

    /// Where the stored query is in the text.
    pub(super) fn stored_query(&self) -> Range<usize> {
        match self.flags & HAS_QUERY {
            0 => self.insert_at..self.insert_at,
            _ => query::stored_query_range(self.text, self.insert_at),
        }
    }

    /// Whether an incoming parameter of this name is forwarded. Parameters for Waypost itself and the token's parameter
    /// never are. `stored_query`: [`UrlTemplate::stored_query`], found once for all parameters.
    pub(super) fn forwards_parameter(&self, name: &[u8], token_param: &[u8], stored_query: &Range<usize>) -> bool {
        if LinkParameter::find_by_name(name).is_some() || may_backend_read_as_same_name(name, token_param) {
            return false;
        }
        let is_listed =
            || self.allowed_names.split(|byte| *byte == b'&').any(|listed| may_backend_read_as_same_name(listed, name));
        if self.flags & HAS_ALLOW_LIST != 0 && !is_listed() {
            return false;
        }
        if self.flags & HAS_QUERY == 0 {
            return true;
        }
        let all_stored_win = self.query_policy() == QueryPolicy::StoredWins;
        let mut stored = query::split_stored_parameters(self.text, stored_query.clone());
        !stored.any(|parameter| {
            may_backend_read_as_same_name(parameter.name, name)
                && (all_stored_win || self.identifies_click(&parameter.range))
        })
    }
}

/// The names behind their count, each behind its length, and the bytes behind them.
fn split_names(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, names) = bytes.split_first()?;
    let mut rest = names;
    for _ in 0..*count {
        (_, rest) = split_name(rest)?;
    }
    names.split_at_checked(names.len() - rest.len())
}

/// A name behind its length, and the bytes behind it.
fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
