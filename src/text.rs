//! Cutting texts to their bounds: between two characters, so that no half of one is left.

/// The first `max_len` bytes of a text, or up to three less where a character of UTF-8 would be cut. Bytes that are no
/// UTF-8 are cut at `max_len`.
pub fn cut_at_character(text: &[u8], max_len: usize) -> &[u8] {
    if text.len() <= max_len {
        return text;
    }
    let is_continuation = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let last_begin = (max_len.saturating_sub(4)..max_len).rev().find(|at| !is_continuation(text[*at]));
    match last_begin {
        Some(at) if at + character_len(text[at]) > max_len => &text[..at],
        _ => &text[..max_len],
    }
}

/// The length of a character by its first byte.
const fn character_len(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_before_a_character_that_does_not_fit() {
        let cut = |text: &'static str, max_len| cut_at_character(text.as_bytes(), max_len);
        assert_eq!(cut("ab", 2), b"ab");
        assert_eq!(cut("abc", 2), b"ab");
        assert_eq!(cut("a\u{e9}", 2), b"a");
        assert_eq!(cut("\u{ac00}\u{ac00}", 3), "\u{ac00}".as_bytes());
        assert_eq!(cut("\u{ac00}\u{ac00}", 5), "\u{ac00}".as_bytes());
        assert_eq!(cut("\u{1f600}x", 3), b"");
        assert_eq!(cut_at_character(&[0x80; 9], 7), &[0x80; 7], "no UTF-8");
    }

    proptest! {
        #[test]
        fn a_cut_text_is_utf8_and_as_long_as_the_bound_lets_it_be(text in ".{0,40}", max_len in 0_usize..60) {
            let expected = &text[..text.floor_char_boundary(max_len)];
            prop_assert_eq!(cut_at_character(text.as_bytes(), max_len), expected.as_bytes());
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(
            text in prop::collection::vec(any::<u8>(), 0..40), max_len in 0_usize..60,
        ) {
            let kept = cut_at_character(&text, max_len);
            prop_assert!(kept.len() + 3 >= text.len().min(max_len) && text.starts_with(kept));
        }
    }
}
