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
    },
    model::link::record::{Record, RecordError, RecordErrorKind, ValidRecord},
};

/// The URLs of a link in the form that clicks use.
pub(super) struct LinkUrls {
    /// The bytes of the URL template (`destination`).
    pub(super) template: Vec<u8>,
    pub(super) fallback: Option<String>,
}

impl LinkUrls {
    pub(super) fn check_and_build(
        record: &Record,
        valid: &ValidRecord<'_>,
        code: &str,
        domain: &Domain,
        policy: &DestinationPolicy,
    ) -> Result<LinkUrls, Vec<RecordError>> {
        let mut template = Vec::with_capacity(record.url.len() + 32);
        let destination = Destination {
            url: &record.url,
            code,
            creator: valid.facts.creator,
            query: record.query,
            allow: record.query_allow.as_deref(),
            append_token: record.append_token,
            token_param: &domain.token_param,
        };
        let built = builder::check_destination_and_append_template(
            &destination,
            policy,
            |host| domain.is_cookie_sent_to_host(host),
            &mut template,
        );
        let mut errors: Vec<RecordError> =
            built.err().map(|error| to_record_error("url", &error)).into_iter().collect();
        let fallback = record
            .fallback_url
            .as_deref()
            .map(|url| policy.check_and_normalize_url_without_placeholders(url))
            .transpose();
        match fallback {
            Ok(fallback) if errors.is_empty() => return Ok(LinkUrls { template, fallback }),
            Ok(_) => {}
            Err(error) => errors.push(to_record_error("fallback_url", &error)),
        }
        Err(errors)
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
        match (destination, fallback) {
            (Ok(destination), Ok(fallback)) => Ok([destination, fallback]
                .into_iter()
                .filter_map(|target| if let UrlTarget::OwnLink(key) = target { Some(key) } else { None })
                .collect()),
            (destination, fallback) => Err(destination.err().into_iter().chain(fallback.err()).collect()),
        }
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
