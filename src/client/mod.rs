//! The client of a request: what its headers say ([`request_facts`], [`media_type`], [`reduced_agent`]), its address
//! behind trusted proxies ([`address`]), and what its user agent is (`user_agent`).

pub mod address;
pub mod media_type;
pub mod reduced_agent;
pub mod request_facts;
pub(crate) mod user_agent;
