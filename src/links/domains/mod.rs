//! The hosts that codes are served on, and how each of them answers.
//!
//! `[domains."go.example.com"]` configures a host; it has codes of its own. `[domains."*"]` stands for every host that
//! is not configured. A domain inherits nothing from `*`: a setting that is left out has the default of [`Settings`].

mod app_links;
mod choices;
mod default_targets;
mod domain;
mod domain_url;
pub(in crate::links) mod host;
mod loops;
mod next_hop_rules;
mod param_name;
mod registry;
mod settings;
mod sub_names;

pub use app_links::{AndroidApp, AppAssociationFiles, AppLinks};
pub use choices::{ClientIp, Gpc, InApp, OnExpired, Prefetch, UnknownHosts};
pub use default_targets::DefaultTargets;
pub use domain::{Domain, DomainId};
pub use domain_url::DomainUrl;
pub use host::parse_host_or_asterisk;
pub use next_hop_rules::{NextHopRules, signature_param_of};
pub use registry::Domains;
pub use settings::{Config, Settings};
pub use sub_names::SubNames;

#[cfg(test)]
mod tests;
