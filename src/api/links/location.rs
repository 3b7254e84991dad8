//! The address of a link in the API.

use crate::{catalog::change::LinkName, uri::percent};

/// The path of a link, percent-encoded.
pub(in crate::api) fn path_of_link(name: &LinkName) -> String {
    let mut path = b"/v1/links/".to_vec();
    if name.domain == "*" {
        path.push(b'*');
    } else {
        percent::push_percent_encoded(name.domain.bytes(), &mut path);
    }
    path.push(b'/');
    percent::push_percent_encoded(name.code.bytes(), &mut path);
    String::from_utf8(path).unwrap_or_default()
}
