//! What changed, and all that there is.

pub(super) mod acts;
mod audit_text;
pub(super) mod changes;
pub(super) mod export;
pub(super) mod history;
