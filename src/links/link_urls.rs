//! The URLs of a link's record, checked, in the form that the table keeps.

use crate::{
    links::{
        destination::{
            UrlTemplate,
            builder::{self, Destination},
            policy::DestinationPolicy,
            url_error::UrlError,
        },
        domains::{Domain, Domains},
        link_key::LinkKey,
        own_host::{CheckedLink, UrlTarget, check_url_leaves_own_hosts_unless_allowed},
        targets::CompiledTarget,
    },
    model::link::record::{Record, RecordError, RecordErrorKind, ValidRecord},
};

/// The URLs of a link in the form that clicks use.
pub(super) struct LinkUrls<'a> {
    /// The bytes of the URL template (`destination`).
    pub(super) template: Vec<u8>,
    pub(super) fallback: Option<String>,
    pub(super) targets: Vec<CompiledTarget<'a>>,
}

impl<'a> LinkUrls<'a> {
    pub(super) fn check_and_build(
        record: &Record,
        valid: &'a ValidRecord<'a>,
        code: &str,
        domain: &Domain,
        policy: &DestinationPolicy,
    ) -> Result<LinkUrls<'a>, Vec<RecordError>> {
        let check_and_build_template = |url: &str| {
            let mut template = Vec::with_capacity(url.len() + 32);
            let destination = Destination {
                url,
                code: Some(code),
                domain: &domain.name,
                creator: valid.facts.creator,
                query: record.query,
                allow: record.query_allow.as_deref(),
                append_token: record.append_token,
                token_param: &domain.token_param,
            };
            let is_reached = |host: &str| domain.is_cookie_sent_to_host(host);
            builder::check_destination_and_append_template(&destination, policy, is_reached, &mut template)
                .map(|()| template)
        };
        let mut errors = Vec::new();
        let mut targets = Vec::with_capacity(valid.targets.targets.len());
        for (at, target) in valid.targets.targets.iter().enumerate() {
            match check_and_build_template(target.url) {
                Ok(template) => targets.push(CompiledTarget { target, template }),
                Err(error) => errors.push(to_record_error("targets", &error).inside(&format!("/{at}/url"))),
            }
        }
        let template = check_and_build_template(&record.url);
        let fallback = record
            .fallback_url
            .as_deref()
            .map(|url| policy.check_and_normalize_url_without_placeholders(url))
            .transpose();
        match (template, fallback) {
            (Ok(template), Ok(fallback)) if errors.is_empty() => Ok(LinkUrls { template, fallback, targets }),
            (template, fallback) => {
                let own = template.err().map(|error| to_record_error("url", &error));
                let fallback = fallback.err().map(|error| to_record_error("fallback_url", &error));
                Err(own.into_iter().chain(fallback).chain(errors).collect())
            }
        }
    }

    /// Checks that destination and fallback lead to other servers, or to links that the record allows; lists these.
    pub(super) fn check_and_list_own_host_targets(
        &self,
        record: &Record,
        code: &str,
        domain: &Domain,
        domains: &Domains,
    ) -> Result<Vec<LinkKey>, Vec<RecordError>> {
        let link = CheckedLink { domain, code, allows_own_host: record.allow_own_host };
        let template = UrlTemplate::from_bytes(&self.template);
        let full_url = || template.to_url_text_with_placeholders();
        let bare_url = template.text_without_placeholders();
        let destination = check_url_leaves_own_hosts_unless_allowed("url", bare_url, full_url, link, domains);
        let fallback = self.fallback.as_deref().map_or(Ok(UrlTarget::OtherHost), |url| {
            check_url_leaves_own_hosts_unless_allowed("fallback_url", url.as_bytes(), || url.to_owned(), link, domains)
        });
        let targets = self.targets.iter().enumerate().map(|(at, compiled)| {
            let template = UrlTemplate::from_bytes(&compiled.template);
            let (bare, full) = (template.text_without_placeholders(), || template.to_url_text_with_placeholders());
            check_url_leaves_own_hosts_unless_allowed("targets", bare, full, link, domains)
                .map_err(|error| error.inside(&format!("/{at}/url")))
        });
        let mut errors = Vec::new();
        let mut own_links = Vec::new();
        for target in [destination, fallback].into_iter().chain(targets) {
            match target {
                Ok(UrlTarget::OwnLink(key)) => own_links.push(key),
                Ok(UrlTarget::OtherHost) => {}
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(own_links) } else { Err(errors) }
    }
}

/// The mistake of a URL in a field. Other servers may allow other hosts.
fn to_record_error(field: &'static str, error: &UrlError) -> RecordError {
    let kind = match error {
        UrlError::Host(_) => RecordErrorKind::NotAcceptedHere,
        _ => RecordErrorKind::Invalid,
    };
    RecordError::of_rule(field, error.rule(), error.to_string()).with_kind(kind)
}
