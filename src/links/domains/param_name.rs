//! Names of query parameters as the configuration writes them.

/// Whether a text can be the name of a parameter without an escape.
pub(super) fn is_param_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    matches!(name.len(), 1..=32) && name.bytes().all(plain)
}
