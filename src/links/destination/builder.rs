//! Building a URL template when a link is loaded.

use url::{Position, Url};

use crate::{
    links::destination::{
        parameter_name::may_backend_read_as_same_name,
        placeholder::{MAX_QUERY_NAMES, Placeholder, PlaceholderKind, PlaceholderPlace},
        policy::DestinationPolicy,
        query,
        template::{HAS_ALLOW_LIST, HAS_FRAGMENT, HAS_PLACEHOLDERS, HAS_QUERY, HAS_QUERY_NAMES, TokenPlace},
        url_error::{MAX_PLACEHOLDERS, MAX_TOKEN_PLACEHOLDERS, MAX_URL_LEN, UrlError},
    },
    model::link::QueryPolicy,
    uri::percent,
};

/// The longest name in `{query:NAME}`, bytes.
const MAX_QUERY_NAME_LEN: usize = 32;

/// A destination as its link has it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The URL with its placeholders.
    pub url: &'a str,
    /// The value of `{code}`; `None`: each click fills it.
    pub code: Option<&'a str>,
    /// The value of `{domain}`: the name of the link's domain.
    pub domain: &'a str,
    /// The value of `{creator}`; "" for none.
    pub creator: &'a str,
    /// What becomes of the incoming query.
    pub query: QueryPolicy,
    /// If given, the names of the only incoming parameters that are forwarded.
    pub allow: Option<&'a [String]>,
    /// Whether the token may be appended at all.
    pub append_token: bool,
    /// The name of the token's parameter.
    pub token_param: &'a str,
}

/// Checks a destination and appends its template's bytes to `out`. `is_reached_by_cookie` says whether browsers send
/// the attribution cookie to a host; such a destination needs no token while the answer sets the cookie.
pub fn check_destination_and_append_template(
    destination: &Destination<'_>,
    policy: &DestinationPolicy,
    is_reached_by_cookie: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) -> Result<(), UrlError> {
    let marked = MarkedUrl::new(destination)?;
    let url = policy.parse_and_check_url(destination.url, &marked.text)?;
    let SplitUrl { text, placeholders } = marked.remove_marks_and_locate_and_check_placeholders(&url)?;
    let has_token_placeholder =
        placeholders.iter().any(|placeholder| placeholder.kind() == PlaceholderKind::ClickToken);
    // The cookie is `Secure`, so browsers never send it by plain http; apps have no cookies.
    let is_reached = url.scheme() == "https" && url.host_str().is_some_and(is_reached_by_cookie);
    let token_place = match (has_token_placeholder, destination.append_token, is_reached) {
        (true, _, _) => TokenPlace::Placeholders,
        (false, false, _) => TokenPlace::None,
        (false, true, false) => TokenPlace::Appended,
        (false, true, true) => TokenPlace::AppendedWithoutCookie,
    };
    let insert_at = memchr::memchr(b'#', text.as_bytes()).unwrap_or(text.len());
    let has_query = text[..insert_at].contains('?');
    if token_place.may_be_appended()
        && has_query
        && has_stored_parameter_read_as_name(&text, insert_at, destination.token_param)
    {
        return Err(UrlError::TokenParam(destination.token_param.to_owned()));
    }
    let has_fragment = insert_at < text.len();
    let flag_if = |condition: bool, flag: u8| if condition { flag } else { 0 };
    let flags = destination.query as u8
        | token_place.flag_bits()
        | flag_if(!placeholders.is_empty(), HAS_PLACEHOLDERS)
        | flag_if(destination.allow.is_some(), HAS_ALLOW_LIST)
        | flag_if(has_fragment, HAS_FRAGMENT)
        | flag_if(has_query, HAS_QUERY);
    out.push(flags);
    if has_fragment {
        out.extend_from_slice(&(insert_at as u16).to_le_bytes());
    }
    push_placeholders_and_names_if_any(&placeholders, &marked.query_names, out);
    push_len_and_allow_list_if_present(destination.allow, out);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Whether the stored query has a parameter that a back end may read as this name.
fn has_stored_parameter_read_as_name(text: &str, insert_at: usize, name: &str) -> bool {
    let stored = query::stored_query_range(text.as_bytes(), insert_at);
    query::split_stored_parameters(text.as_bytes(), stored)
        .any(|parameter| may_backend_read_as_same_name(parameter.name, name.as_bytes()))
}

fn push_placeholders_and_names_if_any(placeholders: &[Placeholder], query_names: &[&str], out: &mut Vec<u8>) {
    if placeholders.is_empty() {
        return;
    }
    out.push(placeholders.len() as u8 | if query_names.is_empty() { 0 } else { HAS_QUERY_NAMES });
    placeholders.iter().for_each(|placeholder| out.extend_from_slice(&placeholder.encode()));
    if !query_names.is_empty() {
        out.push(query_names.len() as u8);
        for name in query_names {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
    }
}

fn push_len_and_allow_list_if_present(allow: Option<&[String]>, out: &mut Vec<u8>) {
    if let Some(names) = allow {
        let names = names.join("&");
        out.extend_from_slice(&(names.len() as u16).to_le_bytes());
        out.extend_from_slice(names.as_bytes());
    }
}

/// A URL with marks instead of its placeholders. A mark is letters and digits alone, so normalisation leaves it as it
/// is.
struct MarkedUrl<'a> {
    text: String,
    /// What every mark starts with; a letter for the placeholder's name follows.
    mark: String,
    /// The number of marks.
    count: usize,
    /// The names of `{query:NAME}`, each once.
    query_names: Vec<&'a str>,
}

/// A normalised URL and what stood in it.
struct SplitUrl {
    /// The URL without its marks.
    text: String,
    placeholders: Vec<Placeholder>,
}

impl<'a> MarkedUrl<'a> {
    /// Replaces the placeholders: `{code}`, `{domain}` and `{creator}` by their values, all others by marks.
    fn new(destination: &Destination<'a>) -> Result<MarkedUrl<'a>, UrlError> {
        let url = destination.url;
        if has_brace_before_path(url) {
            return Err(UrlError::PlaceholderPosition);
        }
        if memchr::memchr2(b'{', b'}', url.as_bytes()).is_none() {
            return Ok(MarkedUrl { text: url.to_owned(), mark: String::new(), count: 0, query_names: Vec::new() });
        }
        let mut mark = "Wp0Hole".to_owned();
        while url.contains(&mark)
            || destination.creator.contains(&mark)
            || destination.code.is_some_and(|code| code.contains(&mark))
        {
            mark.push('Q');
        }
        let mut marked =
            MarkedUrl { text: String::with_capacity(url.len() + 32), mark, count: 0, query_names: Vec::new() };
        let mut rest = url;
        while let Some(at) = rest.find(['{', '}']) {
            marked.text.push_str(&rest[..at]);
            let name = match rest[at..].find('}') {
                Some(len) if len > 0 => &rest[at + 1..at + len],
                _ => return Err(UrlError::UnknownPlaceholder(rest[at..].chars().take(20).collect())),
            };
            marked.append_placeholder_value_or_mark(name, destination)?;
            rest = &rest[at + name.len() + 2..];
        }
        marked.text.push_str(rest);
        Ok(marked)
    }

    fn append_placeholder_value_or_mark(
        &mut self,
        name: &'a str,
        destination: &Destination<'_>,
    ) -> Result<(), UrlError> {
        match (name, destination.code) {
            ("code", Some(code)) => self.text.push_str(code),
            ("domain", _) => self.push_encoded(destination.domain),
            ("creator", _) if destination.creator.is_empty() => return Err(UrlError::NoCreator),
            ("creator", _) => self.push_encoded(destination.creator),
            _ => {
                let number = match name.strip_prefix("query:") {
                    Some(parameter) => self.number_of_parameter(parameter)?,
                    None => Placeholder::find_name_number(name)
                        .ok_or_else(|| UrlError::UnknownPlaceholder(format!("{{{name}}}")))?,
                };
                self.count += 1;
                if self.count > MAX_PLACEHOLDERS {
                    return Err(UrlError::TooManyPlaceholders);
                }
                self.text.push_str(&self.mark);
                self.text.push(char::from(b'a' + number));
            }
        }
        Ok(())
    }

    fn push_encoded(&mut self, value: &str) {
        let mut encoded = Vec::new();
        percent::push_percent_encoded(value.bytes(), &mut encoded);
        self.text.extend(encoded.iter().map(|byte| char::from(*byte)));
    }

    /// The number of `{query:NAME}`, whose name is plain.
    fn number_of_parameter(&mut self, name: &'a str) -> Result<u8, UrlError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(1..=MAX_QUERY_NAME_LEN).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(UrlError::UnknownPlaceholder(format!("{{query:{name}}}")));
        }
        let index = self.query_names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.query_names.push(name);
            self.query_names.len() - 1
        });
        if index >= MAX_QUERY_NAMES {
            return Err(UrlError::TooManyPlaceholders);
        }
        Ok(Placeholder::number_of_query_name(index))
    }

    /// Takes the marks out of the normalised URL, and checks where each of them stood.
    fn remove_marks_and_locate_and_check_placeholders(&self, url: &Url) -> Result<SplitUrl, UrlError> {
        let full = url.as_str();
        if self.count == 0 && full.len() <= MAX_URL_LEN {
            return Ok(SplitUrl { text: full.to_owned(), placeholders: Vec::new() });
        }
        let path = url[..Position::BeforePath].len()..url[..Position::AfterPath].len();
        let query_end = url[..Position::AfterQuery].len();
        let mut split =
            SplitUrl { text: String::with_capacity(full.len()), placeholders: Vec::with_capacity(self.count) };
        let mut from = 0;
        while let Some(at) = full[from..].find(&self.mark).map(|at| from + at) {
            split.text.push_str(&full[from..at]);
            let letter_at = at + self.mark.len();
            from = letter_at + 1;
            let is_in_query = (path.end..query_end).contains(&at);
            if at < path.start || is_in_query && is_in_parameter_name(&full[path.end..at]) {
                return Err(UrlError::PlaceholderPosition);
            }
            let number = full.as_bytes().get(letter_at).map_or(0, |letter| letter.wrapping_sub(b'a'));
            let place = match at < path.end {
                true => PlaceholderPlace::Path,
                false if is_in_query && is_in_nested_url(&split.text) => PlaceholderPlace::NestedUrl,
                false => PlaceholderPlace::QueryOrFragment,
            };
            split.placeholders.push(Placeholder::new(split.text.len() as u16, number, place));
        }
        split.text.push_str(&full[from..]);
        self.check_all_marks_kept_and_token_count_and_url_len(&split)?;
        Ok(split)
    }

    /// Checks that normalisation removed no mark, and that the URL without marks keeps its bounds.
    fn check_all_marks_kept_and_token_count_and_url_len(&self, split: &SplitUrl) -> Result<(), UrlError> {
        if split.placeholders.len() != self.count {
            return Err(UrlError::PlaceholderPosition);
        }
        let is_token = |placeholder: &&Placeholder| placeholder.kind() == PlaceholderKind::ClickToken;
        if split.placeholders.iter().filter(is_token).count() > MAX_TOKEN_PLACEHOLDERS {
            return Err(UrlError::TooManyPlaceholders);
        }
        if split.text.len() > MAX_URL_LEN {
            return Err(UrlError::TooLong(split.text.len()));
        }
        Ok(())
    }
}

/// Whether scheme, host or port holds a brace.
fn has_brace_before_path(url: &str) -> bool {
    let Some(at) = url.find("://") else { return false };
    let path_at = url[at + 3..].find(['/', '?', '#', '\\']).map_or(url.len(), |len| at + 3 + len);
    url[..path_at].contains('{')
}

/// Whether the end of this part of a query belongs to a parameter's name: no `=` stands behind the last separator.
fn is_in_parameter_name(query_before: &str) -> bool {
    let parameter = query_before.rsplit(['?', '&']).next().unwrap_or_default();
    !parameter.contains('=')
}

/// Whether the end of this part of a URL, which is in its query, belongs to a URL inside a value: a scheme and `://`
/// stand before it in the value, encoded or not.
fn is_in_nested_url(url_before: &str) -> bool {
    let query = url_before.split_once('?').map_or("", |(_, query)| query);
    let value = query.rsplit('&').next().and_then(|parameter| parameter.split_once('=')).map_or("", |(_, value)| value);
    value.contains("://") || value.to_ascii_lowercase().contains("%3a%2f%2f")
}
