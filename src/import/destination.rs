//! Destinations as exports write them: what is changed before the rules of a links file apply, and what those rules
//! cannot know.

use std::borrow::Cow;

use crate::{
    import::{
        cell::quote,
        options::{HtmlEntities, Placeholders},
        outcome::{Mistake, Note, NoteKind},
        plan::ImportPlan,
    },
    links::domains::Domains,
    uri::host::find_scheme_and_host,
};

/// What a spreadsheet shows in place of a value that it could not work out.
const SPREADSHEET_ERRORS: [&str; 11] = [
    "#REF!",
    "#N/A",
    "#VALUE!",
    "#NAME?",
    "#DIV/0!",
    "#NULL!",
    "#NUM!",
    "#ERROR!",
    "#SPILL!",
    "#CALC!",
    "#GETTING_DATA",
];

/// Characters as HTML writes them in an attribute.
const ENTITIES: [(&str, &str); 11] = [
    ("&amp;", "&"),
    ("&#38;", "&"),
    ("&#038;", "&"),
    ("&#x26;", "&"),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#034;", "\""),
    ("&#39;", "'"),
    ("&#039;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
];

/// A URL of the row and the column that has it.
#[derive(Debug)]
pub(super) struct FoundUrl {
    pub(super) column: String,
    pub(super) url: String,
}

impl FoundUrl {
    pub(super) fn new(column: String, url: String) -> FoundUrl {
        FoundUrl { column, url }
    }

    /// The URL with the changes that the plan makes. `own_hosts` are hosts of short links beside those of the plan.
    pub(super) fn check_and_change(
        self,
        plan: &ImportPlan,
        domains: &Domains,
        own_host: Option<&str>,
        notes: &mut Vec<Note>,
    ) -> Result<String, Mistake> {
        let FoundUrl { column, mut url } = self;
        let mistake = |rule, message: String| Err(Mistake::of_column(&column, rule, message));
        if url.is_empty() {
            return mistake("url-empty", "is empty; a link needs a destination".to_owned());
        }
        if SPREADSHEET_ERRORS.iter().any(|error| url.trim().eq_ignore_ascii_case(error)) {
            return mistake("url-spreadsheet", format!("is {}, a spreadsheet's error value", quote(&url)));
        }
        if plan.html_entities == HtmlEntities::Decode
            && let Cow::Owned(decoded) = decode_entities(&url)
        {
            notes.push(Note::of_column(NoteKind::EntitiesDecoded, &column, format!("{} is decoded", quote(&url))));
            url = decoded;
        }
        if let Some(host) = find_own_host(&url, plan, domains, own_host) {
            let message = format!(
                "leads to {}, a short host of this import: a chain or a loop; name a URL of the shop",
                quote(&host)
            );
            return mistake("url-own-host", message);
        }
        if plan.placeholders == Placeholders::Escape && url.contains(['{', '}']) {
            let message = format!("{}: braces are escaped to %7B and %7D", quote(&url));
            notes.push(Note::of_column(NoteKind::BracesEscaped, &column, message));
            url = url.replace('{', "%7B").replace('}', "%7D");
        }
        Ok(url)
    }
}

fn decode_entities(url: &str) -> Cow<'_, str> {
    let entity_at = |at: usize| {
        ENTITIES.iter().find(|(entity, _)| {
            url.as_bytes()[at..].get(..entity.len()).is_some_and(|text| text.eq_ignore_ascii_case(entity.as_bytes()))
        })
    };
    let mut decoded = String::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'&', url.as_bytes()) {
        if at >= from
            && let Some((entity, character)) = entity_at(at)
        {
            decoded.push_str(&url[from..at]);
            decoded.push_str(character);
            from = at + entity.len();
        }
    }
    if from == 0 {
        return Cow::Borrowed(url);
    }
    decoded.push_str(&url[from..]);
    Cow::Owned(decoded)
}

/// The host of the URL, if short links of this import or of the configuration have it.
fn find_own_host(url: &str, plan: &ImportPlan, domains: &Domains, own_host: Option<&str>) -> Option<String> {
    let parts = find_scheme_and_host(url.as_bytes())?;
    let is_web = ["http", "https"].iter().any(|web| parts.scheme.eq_ignore_ascii_case(web.as_bytes()));
    let host = str::from_utf8(parts.host).ok().filter(|_| is_web)?;
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_own = plan.domain_of_host.contains_key(&host)
        || own_host.is_some_and(|own| own.eq_ignore_ascii_case(&host))
        || domains.find_configured_by_host(host.as_bytes()).is_some();
    is_own.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(decode_entities("?a=1&amp;b=2&#038;c=&quot;&AMP;lt;"), "?a=1&b=2&c=\"&lt;");
        assert!(matches!(decode_entities("?a=1&b=2&ampere=3"), Cow::Borrowed(_)));
    }
}
