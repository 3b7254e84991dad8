//! The parameters of a short link that are for Waypost itself: sub ids and the consent signal.
//!
//! Reserving, recording, filling in and honouring all ask [`LinkParameter::find_by_name`], so that no spelling of a
//! name is kept from the shop and then ignored.

use crate::uri::query::{self, MAX_KNOWN_NAME_LEN};

/// A parameter that is for Waypost itself. It is recorded, and not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkParameter {
    /// A sub id.
    Sub {
        /// Which of the five: `sub1` has 0.
        index: u8,
    },
    /// `cons`: the consent signal.
    Consent,
}

impl LinkParameter {
    /// The parameter of a name, which is still encoded. Encoding and case do not count.
    #[inline]
    pub fn find_by_name(name: &[u8]) -> Option<LinkParameter> {
        // Most other names end here, before anything is decoded.
        if !matches!(name.first(), Some(b's' | b'S' | b'c' | b'C' | b'%')) {
            return None;
        }
        match query::fold_name(name, &mut [0; MAX_KNOWN_NAME_LEN])? {
            [b's', b'u', b'b', number @ b'1'..=b'5'] => Some(LinkParameter::Sub { index: number - b'1' }),
            b"cons" => Some(LinkParameter::Consent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_encoding() {
        for name in ["sub1", "SUB1", "Sub1", "%73ub1", "%53%55%42%31"] {
            let found = LinkParameter::find_by_name(name.as_bytes());
            assert_eq!(found, Some(LinkParameter::Sub { index: 0 }), "{name}");
        }
        for name in ["cons", "Cons", "c%6Fns"] {
            assert_eq!(LinkParameter::find_by_name(name.as_bytes()), Some(LinkParameter::Consent), "{name}");
        }
        for name in ["", "sub", "sub0", "sub6", "sub11", "sub1[]", "+sub1", "consent", "con", "%2573ub1"] {
            assert_eq!(LinkParameter::find_by_name(name.as_bytes()), None, "{name}");
        }
    }
}
