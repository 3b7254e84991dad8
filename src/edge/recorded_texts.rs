//! The texts of a request as its click records them. A token of an earlier click (a short link behind a short link) is
//! left out: a leaked journal or topic holds no bearer tokens. Under `strict` the click ids of ad platforms, the
//! referer and the full user agent are left out too.

use crate::{
    attribution::token::{self, MIN_TOKEN_LEN},
    client::{
        reduced_agent::push_reduced_agent,
        request_facts::{QueryFacts, has_name},
    },
    edge::code_request::CodeRequest,
    model::{ad_parameter::is_platform_mark, click::Privacy},
    uri::query::{self, MAX_KNOWN_NAME_LEN},
};

/// The buffers for the texts of one click. Most requests hold nothing to leave out: then nothing is copied.
#[derive(Default)]
pub(super) struct RecordedTexts {
    /// Whether something is left out, and the other fields hold the texts to record.
    is_redacted: bool,
    query: Vec<u8>,
    referer: Vec<u8>,
    user_agent: Vec<u8>,
    destination: Vec<u8>,
}

/// What is left out of a query.
#[derive(Clone, Copy)]
struct Redaction<'a> {
    token_param: &'a [u8],
    privacy: Privacy,
    /// The parameter of the next hop, whose URL can have click ids of its own.
    next_hop_param: Option<&'a [u8]>,
}

impl RecordedTexts {
    /// Copies the texts of a request that holds something to leave out.
    pub(super) fn redact_if_needed(&mut self, request: &CodeRequest<'_>) {
        let token_param = request.domain.token_param.as_bytes();
        self.is_redacted = request.privacy == Privacy::Strict
            || request.query_facts.has_token_param
            || may_hold_token(request.target.query)
            || may_referer_hold_token(request.facts.referer, token_param);
        if self.is_redacted {
            self.redact(request, Redaction::new(request));
        }
    }

    #[cold]
    fn redact(&mut self, request: &CodeRequest<'_>, redaction: Redaction<'_>) {
        let RecordedTexts { query, referer, user_agent, .. } = self;
        query.clear();
        referer.clear();
        user_agent.clear();
        redaction.push_redacted_query(request.target.query, query);
        if redaction.privacy == Privacy::Strict {
            push_reduced_agent(request.facts.user_agent, user_agent);
        } else {
            user_agent.extend_from_slice(request.facts.user_agent);
            redaction.push_redacted_url(request.facts.referer, referer);
        }
    }

    /// Leaves out of a recorded destination what is left out of the query, whose parameters it can have. `token_offset`
    /// is where the click's own token stood; returns where that is now.
    pub(super) fn redact_destination_if_needed(
        &mut self,
        request: &CodeRequest<'_>,
        destination: &mut Vec<u8>,
        token_offset: Option<u16>,
    ) -> Option<u16> {
        if !self.is_redacted {
            return token_offset;
        }
        let redaction = Redaction::new(request);
        let redacted = &mut self.destination;
        redacted.clear();
        let offset = match token_offset {
            // Under `strict` no destination has a token of its own.
            None => {
                redaction.push_redacted_url(destination, redacted);
                None
            }
            Some(offset) => {
                let (before, behind) = destination.split_at(usize::from(offset).min(destination.len()));
                push_without_tokens(before, redacted);
                let offset = redacted.len();
                push_without_tokens(behind, redacted);
                u16::try_from(offset).ok()
            }
        };
        std::mem::swap(destination, redacted);
        offset
    }

    /// The recorded query of a request.
    pub(super) fn query<'a>(&'a self, request: &CodeRequest<'a>) -> &'a [u8] {
        if self.is_redacted { &self.query } else { request.target.query }
    }

    /// The recorded referer of a request.
    pub(super) fn referer<'a>(&'a self, request: &CodeRequest<'a>) -> &'a [u8] {
        if self.is_redacted { &self.referer } else { request.facts.referer }
    }

    /// The recorded user agent of a request.
    pub(super) fn user_agent<'a>(&'a self, request: &CodeRequest<'a>) -> &'a [u8] {
        if self.is_redacted { &self.user_agent } else { request.facts.user_agent }
    }
}

impl<'a> Redaction<'a> {
    fn new(request: &CodeRequest<'a>) -> Redaction<'a> {
        let rules = &request.domain.next_hop;
        let may_have_next_hop =
            rules.follows_signed || request.link.is_some_and(|link| link.next_hop_hosts().is_some());
        Redaction {
            token_param: request.domain.token_param.as_bytes(),
            privacy: request.privacy,
            next_hop_param: may_have_next_hop.then_some(rules.url_param.as_bytes()),
        }
    }

    /// Appends a URL with its query redacted.
    fn push_redacted_url(self, url: &[u8], out: &mut Vec<u8>) {
        let fragment_at = memchr::memchr(b'#', url).unwrap_or(url.len());
        let query_at = memchr::memchr(b'?', &url[..fragment_at]).map_or(fragment_at, |at| at + 1);
        push_without_tokens(&url[..query_at], out);
        self.push_redacted_query(&url[query_at..fragment_at], out);
        push_without_tokens(&url[fragment_at..], out);
    }

    /// Appends a query in which the parameters to leave out have an empty value.
    fn push_redacted_query(self, query: &[u8], out: &mut Vec<u8>) {
        for (number, pair) in query::split_link_query_into_pairs(query).enumerate() {
            if number > 0 {
                out.push(b'&');
            }
            let (name, value) = pair.split_name_and_value();
            if !value.is_empty() && self.leaves_value_out(name) {
                out.extend_from_slice(name);
                out.push(b'=');
            } else {
                push_without_tokens(pair.whole, out);
            }
        }
    }

    fn leaves_value_out(self, name: &[u8]) -> bool {
        let is_mark = || {
            let mut buffer = [0; MAX_KNOWN_NAME_LEN];
            query::fold_name(name, &mut buffer).is_some_and(is_platform_mark)
        };
        let is_next_hop = || self.next_hop_param.is_some_and(|param| query::is_same_name(name, param));
        has_name(name, self.token_param) || self.privacy == Privacy::Strict && (is_mark() || is_next_hop())
    }
}

/// Whether a token can stand in a text: it is long enough, and a token's version stands there. Most texts are shorter
/// than a token, and are not looked at.
fn may_hold_token(text: &[u8]) -> bool {
    text.len() >= MIN_TOKEN_LEN && memchr::memchr_iter(b'.', text).any(|at| text[..at].ends_with(b"v1"))
}

/// Whether a referer can hold a token, or has a parameter of the token's name that can.
fn may_referer_hold_token(referer: &[u8], token_param: &[u8]) -> bool {
    if referer.len() < MIN_TOKEN_LEN {
        return false;
    }
    let query = memchr::memchr(b'?', referer).map_or(&[][..], |at| &referer[at + 1..]);
    may_hold_token(referer) || QueryFacts::read(query, token_param).has_token_param
}

/// Appends a text without the tokens in it.
fn push_without_tokens(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(token) = token::find_token_in_text(text) {
        out.extend_from_slice(&text[..token.start]);
        text = &text[token.end..];
    }
    out.extend_from_slice(text);
}
