//! The attribution window.

/// How long after a click a sale can be credited to it, and so how long a token is valid and a retired key verifies: 14
/// days, milliseconds.
pub const ATTRIBUTION_WINDOW_MS: u64 = 14 * 86_400_000;
