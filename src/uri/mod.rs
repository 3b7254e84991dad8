//! Parsing of the parts of a URI: percent-encoding, query parameters, hosts and authorities. Every module that reads a
//! part of a URI by hand uses the parsers here, so that all modules agree on the result.
//!
//! No function here allocates, and none fails on any bytes. A URL that somebody configures is parsed by the `url` crate
//! instead.

pub mod host;
pub mod percent;
pub mod query;
