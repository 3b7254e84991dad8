//! The client of a request: what its headers say ([`request_facts`], [`media_type`], [`reduced_agent`],
//! `language`), its address behind trusted proxies ([`address`]), what its user agent is (`user_agent`), its device
//! (`device`), its browser (`agent_versions`), and the app and the platform that the click comes from (`source`,
//! `query_params`).

pub mod address;
pub(crate) mod agent_versions;
pub(crate) mod device;
pub(crate) mod language;
pub mod media_type;
pub(crate) mod query_params;
pub mod reduced_agent;
pub mod request_facts;
pub(crate) mod source;
pub(crate) mod user_agent;
