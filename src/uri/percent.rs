//! Percent-encoding (RFC 3986 §2.1) of bytes.

/// Decodes every escape `%XX` once. A `%` without two hexadecimal digits behind it stays as it is.
pub fn decode(encoded: &[u8]) -> impl Iterator<Item = u8> {
    Decoder::<false> { rest: encoded }
}

/// Decodes every escape `%XX` once, and `+` to a space, as HTML forms encode values. A `%` without two hexadecimal
/// digits behind it stays as it is.
pub fn decode_form(encoded: &[u8]) -> impl Iterator<Item = u8> + Clone {
    Decoder::<true> { rest: encoded }
}

/// Whether an escape `%XX` stands at the start of `bytes`.
pub fn starts_with_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if hex_digit(*high).and(hex_digit(*low)).is_some())
}

/// Whether the byte never needs an escape in any part of a URI (RFC 3986 §2.3).
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends the byte as an escape `%XX`.
pub fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Appends decoded bytes, with an escape for every byte that is not unreserved: the result is plain data in any part of
/// a URI.
pub fn push_percent_encoded(decoded: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for byte in decoded {
        if is_unreserved(byte) { out.push(byte) } else { push_escape(byte, out) }
    }
}

/// Appends decoded bytes as [`push_percent_encoded`] does, and encodes the result once more: for a URL inside a value,
/// which is decoded before the URL is read.
pub fn push_percent_encoded_twice(decoded: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for byte in decoded {
        if is_unreserved(byte) {
            out.push(byte);
        } else {
            let escape_at = out.len();
            push_escape(byte, out);
            out.splice(escape_at..=escape_at, *b"%25");
        }
    }
}

#[derive(Clone)]
struct Decoder<'a, const PLUS_IS_SPACE: bool> {
    rest: &'a [u8],
}

impl<const PLUS_IS_SPACE: bool> Iterator for Decoder<'_, PLUS_IS_SPACE> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (byte, encoded_len) = match self.rest {
            [] => return None,
            [b'%', high, low, ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [b'+', ..] if PLUS_IS_SPACE => (b' ', 1),
            [byte, ..] => (*byte, 1),
        };
        self.rest = &self.rest[encoded_len..];
        Some(byte)
    }
}

#[inline]
fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoded: &str) -> Vec<u8> {
        decode(encoded.as_bytes()).collect()
    }

    #[test]
    fn an_escape_is_decoded_once_and_a_broken_one_stays() {
        for (encoded, expected) in
            [("a%2Db", "a-b"), ("a%2db", "a-b"), ("%252D", "%2D"), ("a%zz", "a%zz"), ("%", "%"), ("%2", "%2")]
        {
            assert_eq!(decoded(encoded), expected.as_bytes(), "{encoded}");
        }
    }

    #[test]
    fn only_a_form_reads_a_plus_as_a_space() {
        assert_eq!(decoded("a+b%2Bc"), b"a+b+c");
        assert_eq!(decode_form(b"a+b%2Bc").collect::<Vec<u8>>(), b"a b+c");
    }

    proptest! {
        #[test]
        fn decoding_agrees_with_the_percent_encoding_crate(
            encoded in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"%+09afAF"[..])], 0..60),
        ) {
            let expected: Vec<u8> = percent_encoding::percent_decode(&encoded).collect();
            prop_assert_eq!(decode(&encoded).collect::<Vec<u8>>(), expected);
        }

        #[test]
        fn encoded_bytes_come_back_when_they_are_decoded(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut encoded = Vec::new();
            push_percent_encoded(bytes.iter().copied(), &mut encoded);
            prop_assert!(encoded.iter().all(|byte| is_unreserved(*byte) || *byte == b'%'));
            prop_assert_eq!(decode(&encoded).collect::<Vec<u8>>(), &bytes[..]);
            prop_assert_eq!(decode_form(&encoded).collect::<Vec<u8>>(), bytes);
        }
    }
}
