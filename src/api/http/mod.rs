//! What HTTP asks of every answer and every request, whatever it is about.

pub(super) mod conditions;
pub(super) mod media_types;
pub(super) mod preference;
pub(super) mod problem;
pub(super) mod query_parameters;
pub(super) mod request_body;
pub(super) mod response;
