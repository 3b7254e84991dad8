//! What operators ask: the status, the description of the API, the keys.

pub(super) mod api_keys;
pub(super) mod domains;
pub(super) mod explain;
pub(super) mod key_json;
pub(super) mod openapi;
pub(super) mod status;
pub(super) mod suspensions;
