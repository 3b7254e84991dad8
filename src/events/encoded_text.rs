//! Cutting a text that is percent-encoded.

use crate::{text::cut_at_character, uri::percent};

/// The first `max_len` bytes of an encoded text, or less where an escape or an encoded character of UTF-8 would be cut.
pub(super) fn cut_encoded_at_character(encoded: &[u8], max_len: usize) -> &[u8] {
    if encoded.len() <= max_len {
        return encoded;
    }
    let mut end = cut_at_character(encoded, max_len).len();
    // The escape that `end` lies in.
    if let Some(begin) = (end.saturating_sub(2)..end).find(|at| percent::starts_with_escape(&encoded[*at..])) {
        end = begin;
    }
    // A character has at most three bytes behind its first.
    let is_continuation = |at: usize| matches!(percent::decode(&encoded[at..]).next(), Some(0x80..=0xbf));
    for _ in 0..3 {
        match end.checked_sub(3) {
            Some(before) if is_continuation(end) && percent::starts_with_escape(&encoded[before..]) => end = before,
            _ => break,
        }
    }
    &encoded[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_text_is_cut_before_an_escape_or_a_character_that_does_not_fit() {
        for (encoded, max_len, kept) in [
            ("ab%41", 5, "ab%41"),
            ("ab%41c", 5, "ab%41"),
            ("ab%41c", 4, "ab"),
            ("ab%41c", 3, "ab"),
            ("a%EA%B0%80b", 10, "a%EA%B0%80"),
            ("a%EA%B0%80b", 9, "a"),
            ("a%EA%B0%80b", 7, "a"),
            ("a%EA%B0%80b", 4, "a"),
            ("a%zzb", 3, "a%z"),
            ("a\u{ac00}b", 3, "a"),
        ] {
            assert_eq!(cut_encoded_at_character(encoded.as_bytes(), max_len), kept.as_bytes(), "{encoded} {max_len}");
        }
    }
}
