//! Rendering: from a URL template and the values of one click to the destination.
//!
//! 1. The URL's text up to the fragment, with the placeholders' values; under `incoming-wins` without the replaced
//!    parameters.
//! 2. The incoming parameters that are forwarded.
//! 3. The token, if the answer carries one and the URL has no placeholder for it.
//! 4. The fragment.
//!
//! Bytes from outside are percent-encoded, so none of them can leave its path segment, parameter or fragment. The only
//! allocation is the growth of the caller's buffer.

use std::ops::Range;

use crate::{
    links::{
        destination::{
            parameter_name::may_backend_read_as_same_name,
            placeholder::{KnownValue, Placeholder, PlaceholderKind},
            query,
            template::{HAS_QUERY, QUERY_POLICY_BITS, UrlTemplate},
        },
        facts::Facts,
    },
    model::link::QueryPolicy,
    text::cut_at_character,
    uri::{percent, query::find_value_of_parameter},
};

/// What stands in a path for a value that is missing: an empty segment would be another path.
const MISSING_IN_PATH: &[u8] = b"none";

/// The values that one click fills in. `click_id` and `token` have unreserved characters alone, and are copied as they
/// are.
#[derive(Clone, Copy, Debug)]
pub struct PlaceholderValues<'a> {
    /// The click's id, as text.
    pub click_id: &'a [u8],
    /// The URL token; without one its placeholder stays empty, or is `none` in the path, and none is appended.
    pub token: Option<&'a [u8]>,
    /// The incoming query, without `?`.
    pub query: &'a [u8],
    /// The name of the token's parameter in this domain.
    pub token_param: &'a [u8],
}

/// Where the token starts in a rendered destination, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOffset(pub u16);

impl UrlTemplate<'_> {
    /// Appends the destination of a template that asks for no facts to `out`. Returns where the first token stands in
    /// the destination, if it has one.
    pub fn render_and_return_token_offset(
        &self,
        values: &PlaceholderValues<'_>,
        out: &mut Vec<u8>,
    ) -> Option<TokenOffset> {
        self.render(values, None, out)
    }

    /// The same for a template that asks for facts.
    pub fn render_with_facts_and_return_token_offset(
        &self,
        values: &PlaceholderValues<'_>,
        facts: &Facts<'_>,
        out: &mut Vec<u8>,
    ) -> Option<TokenOffset> {
        self.render(values, Some(facts), out)
    }

    fn render(
        &self,
        values: &PlaceholderValues<'_>,
        facts: Option<&Facts<'_>>,
        out: &mut Vec<u8>,
    ) -> Option<TokenOffset> {
        let start = out.len();
        let mut renderer =
            Renderer { template: self, values, facts, start, out, query: QueryState::Absent, token_offset: None };
        let forwards = !values.query.is_empty() && self.flags & QUERY_POLICY_BITS != QueryPolicy::Drop as u8;
        if forwards && self.flags & HAS_QUERY != 0 && self.query_policy() == QueryPolicy::IncomingWins {
            renderer.push_stored_text_before_fragment_without_replaced_parameters();
        } else {
            renderer.push_stored_text_before_fragment();
        }
        if forwards {
            renderer.push_forwarded_parameters_up_to_max_len();
        }
        if let (true, Some(token)) = (self.token_place().may_be_appended(), values.token) {
            renderer.push_token_parameter(token);
        }
        if self.insert_at < self.text.len() {
            renderer.push_range(self.insert_at + 1..self.text.len());
        }
        renderer.token_offset
    }
}

/// One rendering in progress.
struct Renderer<'r, 'a> {
    template: &'r UrlTemplate<'a>,
    values: &'r PlaceholderValues<'r>,
    facts: Option<&'r Facts<'r>>,
    out: &'r mut Vec<u8>,
    /// Where the destination starts in `out`.
    start: usize,
    query: QueryState,
    token_offset: Option<TokenOffset>,
}

/// The state of the destination's query, which decides the separator before the next parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QueryState {
    /// No query yet: `?` comes next.
    Absent,
    /// The text ends with `?` or `&`: no separator is needed.
    AfterSeparator,
    /// The text ends with a parameter: `&` comes next.
    AfterParameter,
}

impl Renderer<'_, '_> {
    /// Appends a range of the text with its values. Ranges are separated by one byte (`?`, `&`, `#`), so no placeholder
    /// belongs to two of them; every range but the first brings the separator in front of it along.
    fn push_range(&mut self, range: Range<usize>) {
        let from = range.start.saturating_sub(1);
        self.push_text_with_placeholder_values(from, range);
    }

    /// Appends a stored parameter with its values, without the separator in front of it.
    fn push_stored_parameter(&mut self, range: Range<usize>) {
        self.push_text_with_placeholder_values(range.start, range);
    }

    /// Appends the text from `from` to the end of `range`, with the values of the placeholders in `range`.
    fn push_text_with_placeholder_values(&mut self, mut from: usize, range: Range<usize>) {
        let template = self.template;
        for placeholder in template.placeholders_in(&range) {
            self.out.extend_from_slice(&template.text[from..placeholder.offset()]);
            self.push_placeholder_value(placeholder);
            from = placeholder.offset();
        }
        self.out.extend_from_slice(&template.text[from..range.end]);
    }

    fn push_placeholder_value(&mut self, placeholder: Placeholder) {
        match placeholder.kind() {
            PlaceholderKind::ClickId => self.out.extend_from_slice(self.values.click_id),
            PlaceholderKind::ClickToken => match self.values.token {
                Some(token) => self.push_token(token),
                None if placeholder.is_in_path() => self.out.extend_from_slice(MISSING_IN_PATH),
                None => {}
            },
            PlaceholderKind::Sub { index } => {
                let value = query::find_encoded_sub_value_or_empty(self.values.query, index);
                if !placeholder.is_in_path() || !is_dots_or_empty(value) {
                    self.push_incoming_value_cut_to_max_len(value, placeholder);
                }
            }
            PlaceholderKind::Query { index } => self.push_parameter_or_missing(index, placeholder),
            PlaceholderKind::Known(value) => self.push_known_value_or_missing(value, placeholder),
        }
    }

    #[cold]
    fn push_parameter_or_missing(&mut self, index: u8, placeholder: Placeholder) {
        let found = find_value_of_parameter(self.values.query, self.template.query_name(index)).unwrap_or_default();
        if placeholder.is_in_path() && is_dots_or_empty(found) {
            return self.out.extend_from_slice(MISSING_IN_PATH);
        }
        self.push_incoming_value_cut_to_max_len(found, placeholder);
    }

    #[cold]
    fn push_known_value_or_missing(&mut self, value: KnownValue, placeholder: Placeholder) {
        let mut digits = [0; 20];
        let found = match (self.facts, value) {
            (None, _) => &[][..],
            (Some(facts), KnownValue::Device) => facts.device.as_str().as_bytes(),
            (Some(facts), KnownValue::Os) => facts.os.as_str().as_bytes(),
            (Some(facts), KnownValue::Country) => facts.country.as_ref().map_or(&[][..], |country| &country[..]),
            (Some(facts), KnownValue::Language) => facts.language.as_bytes(),
            (Some(facts), KnownValue::Source) => facts.source.as_bytes(),
            (Some(facts), KnownValue::ClickMs) => write_decimal(facts.now_ms, &mut digits),
            (Some(facts), KnownValue::Code) => facts.code,
        };
        // Words, codes and digits need no escape anywhere.
        match found {
            [] if placeholder.is_in_path() => self.out.extend_from_slice(MISSING_IN_PATH),
            found => self.out.extend_from_slice(found),
        }
    }

    /// Appends the value of an incoming parameter, cut to its bound and encoded for its place.
    fn push_incoming_value_cut_to_max_len(&mut self, value: &[u8], placeholder: Placeholder) {
        // One byte more than is kept shows where the character at the bound begins.
        let mut decoded = [0; query::MAX_SUB_LEN + 1];
        let mut len = 0;
        for (into, byte) in decoded.iter_mut().zip(percent::decode_form(value)) {
            *into = byte;
            len += 1;
        }
        let kept = cut_at_character(&decoded[..len], query::MAX_SUB_LEN).iter().copied();
        match placeholder.is_in_nested_url() {
            false => percent::push_percent_encoded(kept, self.out),
            true => percent::push_percent_encoded_twice(kept, self.out),
        }
    }

    fn push_token(&mut self, token: &[u8]) {
        if self.token_offset.is_none() {
            self.token_offset = u16::try_from(self.out.len() - self.start).ok().map(TokenOffset);
        }
        self.out.extend_from_slice(token);
    }

    fn push_token_parameter(&mut self, token: &[u8]) {
        self.push_query_separator_if_needed();
        self.out.extend_from_slice(self.values.token_param);
        self.out.push(b'=');
        self.push_token(token);
    }

    /// Appends the separator that the next parameter needs.
    fn push_query_separator_if_needed(&mut self) {
        match self.query {
            QueryState::Absent => self.out.push(b'?'),
            QueryState::AfterSeparator => {}
            QueryState::AfterParameter => self.out.push(b'&'),
        }
        self.query = QueryState::AfterParameter;
    }

    /// Appends the stored text up to the fragment.
    fn push_stored_text_before_fragment(&mut self) {
        let template = self.template;
        self.push_range(0..template.insert_at);
        if template.flags & HAS_QUERY != 0 {
            let stored = &template.text[..template.insert_at];
            let ends_with_separator = match stored.last() {
                Some(b'&') => true,
                // A value may end in `?` too; only the first `?` is a separator.
                Some(b'?') => memchr::memchr(b'?', stored) == Some(stored.len() - 1),
                _ => false,
            };
            self.query = if ends_with_separator { QueryState::AfterSeparator } else { QueryState::AfterParameter };
        }
    }

    /// Appends the stored text up to the fragment, without the parameters that incoming ones replace.
    fn push_stored_text_before_fragment_without_replaced_parameters(&mut self) {
        let template = self.template;
        let stored = template.stored_query();
        self.push_range(0..stored.start - 1);
        for parameter in query::split_stored_parameters(template.text, stored.clone()) {
            if template.identifies_click(&parameter.range)
                || !self.is_replaced_by_forwarded_parameter(parameter.name, &stored)
            {
                self.push_query_separator_if_needed();
                self.push_stored_parameter(parameter.range);
            }
        }
    }

    /// Whether a forwarded incoming parameter has the name of this stored one.
    fn is_replaced_by_forwarded_parameter(&self, stored_name: &[u8], stored_query: &Range<usize>) -> bool {
        query::named_parameters_among_first_incoming(self.values.query).any(|parameter| {
            may_backend_read_as_same_name(parameter.name, stored_name)
                && self.template.forwards_parameter(parameter.name, self.values.token_param, stored_query)
        })
    }

    /// Appends the forwarded incoming parameters, as long as all together stay within [`query::MAX_FORWARDED_LEN`].
    fn push_forwarded_parameters_up_to_max_len(&mut self) {
        let mut remaining = query::MAX_FORWARDED_LEN;
        let stored_query = self.template.stored_query();
        for parameter in query::named_parameters_among_first_incoming(self.values.query) {
            if !self.template.forwards_parameter(parameter.name, self.values.token_param, &stored_query) {
                continue;
            }
            let (len_before, query_before) = (self.out.len(), self.query);
            self.push_query_separator_if_needed();
            query::push_parameter_keeping_escapes(parameter.whole, self.out);
            let Some(left) = remaining.checked_sub(self.out.len() - len_before) else {
                self.out.truncate(len_before);
                self.query = query_before;
                return;
            };
            remaining = left;
        }
    }
}

/// Whether a value is empty, or of dots alone: such a segment of a path, encoded or not, would lead to a parent
/// directory.
fn is_dots_or_empty(value: &[u8]) -> bool {
    percent::decode_form(value).all(|byte| byte == b'.')
}

/// Writes a number to the end of `digits`, and returns what was written.
fn write_decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
