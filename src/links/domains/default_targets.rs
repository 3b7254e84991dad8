//! The targets of a host, for its links that have none of their own: checked and compiled when the settings are read.
//! `{code}` in their URLs is filled by each click; `{creator}` is refused, because not every link has one.

use std::fmt;

use serde_json::Value;

use crate::{
    invalid_value::InvalidValue,
    links::{
        destination::{
            UrlTemplate,
            builder::{self, Destination},
            policy::DestinationPolicy,
        },
        targets::{CompiledTarget, Targets, compile_targets},
    },
    model::link::{
        QueryPolicy,
        record::{RecordError, read_targets_and_add_errors},
    },
    uri::host::find_scheme_and_host,
};

/// The targets of a host as they are written, and what their URLs depend on.
#[derive(Clone, Copy)]
pub(super) struct WrittenTargets<'a> {
    /// In lower case and punycode, or `*`.
    pub(super) host: &'a str,
    pub(super) targets: &'a [Value],
    pub(super) split: &'a [Value],
    pub(super) token_param: &'a str,
    pub(super) policy: &'a DestinationPolicy,
}

/// The compiled targets of a host.
#[derive(Clone, PartialEq, Eq)]
pub struct DefaultTargets(Box<[u8]>);

impl fmt::Debug for DefaultTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DefaultTargets({} bytes)", self.0.len())
    }
}

impl DefaultTargets {
    /// Compiles the targets of a host; `None` without targets. Their split hashes the host's name, so that a visitor
    /// has one variant on all of the host's links. `is_reached` says whether the attribution cookie reaches a host.
    ///
    /// # Errors
    /// One of the errors in the targets.
    pub(super) fn compile(
        written: WrittenTargets<'_>,
        is_reached: impl Fn(&str) -> bool,
    ) -> Result<Option<DefaultTargets>, String> {
        let mut errors = Vec::new();
        let read = read_targets_and_add_errors(written.targets, written.split, &mut errors);
        let mut compiled = Vec::with_capacity(read.targets.len());
        for (at, target) in read.targets.iter().enumerate() {
            match written.check_and_build_template(target.url, &is_reached) {
                Ok(template) => compiled.push(CompiledTarget { target, template }),
                Err(message) => errors.push(RecordError::new("targets", message).inside(&format!("/{at}/url"))),
            }
        }
        if let Some(error) = errors.first() {
            return Err(error.to_string());
        }
        let bytes = compile_targets(&read, &compiled, written.host, "");
        Ok((!bytes.is_empty()).then(|| DefaultTargets(bytes.into())))
    }

    /// Every error in the targets of a host, with its place. A target leads to no host of this server: its links would
    /// lead in circles.
    pub(super) fn list_invalid_values(
        written: WrittenTargets<'_>,
        is_own_host: &dyn Fn(&str) -> bool,
    ) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        let read = read_targets_and_add_errors(written.targets, written.split, &mut errors);
        for (at, target) in read.targets.iter().enumerate() {
            let checked = written.check_and_build_template(target.url, |_| false);
            let message = match checked {
                Err(message) => message,
                Ok(template) => match find_own_host(&template, is_own_host) {
                    Some(own) => {
                        format!("names the host {own}, which this server answers itself; name a URL of the shop")
                    }
                    None => continue,
                },
            };
            errors.push(RecordError::new("targets", message).inside(&format!("/{at}/url")));
        }
        errors
            .iter()
            .map(|error| InvalidValue::new(format!("{}{}", error.field, error.inside), &*error.message))
            .collect()
    }

    /// The targets.
    pub fn targets(&self) -> Targets<'_> {
        Targets::from_bytes(&self.0)
    }
}

impl WrittenTargets<'_> {
    fn check_and_build_template(self, url: &str, is_reached: impl Fn(&str) -> bool) -> Result<Vec<u8>, String> {
        let destination = Destination {
            url,
            code: None,
            domain: self.host,
            creator: "",
            query: QueryPolicy::default(),
            allow: None,
            append_token: true,
            token_param: self.token_param,
        };
        let mut template = Vec::with_capacity(url.len() + 32);
        builder::check_destination_and_append_template(&destination, self.policy, is_reached, &mut template)
            .map(|()| template)
            .map_err(|error| error.to_string())
    }
}

/// The host of a template's URL, if this server answers it.
fn find_own_host(template: &[u8], is_own_host: &dyn Fn(&str) -> bool) -> Option<String> {
    let parts = find_scheme_and_host(UrlTemplate::from_bytes(template).text_without_placeholders())?;
    let host = str::from_utf8(parts.host).ok()?;
    (matches!(parts.scheme, b"http" | b"https") && is_own_host(host)).then(|| host.to_owned())
}
