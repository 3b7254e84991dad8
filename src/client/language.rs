//! The language that a browser prefers, out of `Accept-Language` (RFC 9110 §12.5.4).

/// The most bytes of the header that are read; browsers send at most some hundred.
const MAX_HEADER_LEN: usize = 512;
/// The most languages that are read.
const MAX_LANGUAGES: usize = 32;

/// The primary tag of the language with the greatest weight, as the client wrote it; of equal ones the first. Empty if
/// the header names none: `*` is no language, and a weight of 0 refuses one.
pub(crate) fn find_preferred_language(accept_language: &[u8]) -> &[u8] {
    primary_tag(find_preferred_tag_among(accept_language, |_| true))
}

/// The whole tag (`zh-Hant-TW`) of the language with the greatest weight among those that are offered, as the client
/// wrote it; of equal ones the first. Empty if the header names none of them.
pub(crate) fn find_preferred_tag_among(accept_language: &[u8], is_offered: impl Fn(&[u8]) -> bool) -> &[u8] {
    let header = &accept_language[..accept_language.len().min(MAX_HEADER_LEN)];
    let (mut preferred, mut greatest) = (&[][..], 0);
    for range in header.split(|byte| *byte == b',').take(MAX_LANGUAGES) {
        let mut parts = range.split(|byte| *byte == b';');
        let tag = parts.next().unwrap_or_default().trim_ascii();
        let primary = primary_tag(tag);
        let is_language = matches!(primary.len(), 2 | 3) && primary.iter().all(u8::is_ascii_alphabetic);
        let weight = parts.map(<[u8]>::trim_ascii).find_map(parse_weight).unwrap_or(1000);
        if is_language && weight > greatest && is_offered(tag) {
            (preferred, greatest) = (tag, weight);
        }
    }
    preferred
}

fn primary_tag(tag: &[u8]) -> &[u8] {
    tag.split(|byte| matches!(byte, b'-' | b'_')).next().unwrap_or_default()
}

/// The weight of `q=0.8`, in thousandths; `None` if this is another parameter. A weight that is none counts as 0.
fn parse_weight(parameter: &[u8]) -> Option<u32> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, digits) = match value {
        [b'0' | b'1'] => (value[0], &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (*whole, digits),
        _ => return Some(0),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Some(0);
    }
    let thousandths = (0..3).fold(0, |sum, at| sum * 10 + u32::from(digits.get(at).map_or(0, |digit| digit - b'0')));
    Some((u32::from(whole - b'0') * 1000 + thousandths).min(1000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_language_with_the_greatest_weight_is_preferred_and_of_equal_ones_the_first() {
        for (header, expected) in [
            ("vi-VN,vi;q=0.9,en-US;q=0.8", "vi"),
            ("en;q=0.5, ko-KR;q=0.9", "ko"),
            ("de, en", "de"),
            ("fr;q=0, nl;q=0.1", "nl"),
            ("*, th;q=0.3", "th"),
            ("zh-Hant-TW", "zh"),
            ("fil-PH,tl;q=0.9", "fil"),
            ("en;q=2, es;q=0.2", "es"),
            ("en_US", "en"),
            ("i-klingon, de", "de"),
            ("", ""),
            ("*", ""),
            (",;q=,;;==", ""),
        ] {
            assert_eq!(find_preferred_language(header.as_bytes()), expected.as_bytes(), "{header}");
        }
    }

    #[test]
    fn among_the_offered_languages_the_whole_tag_of_the_preferred_one_is_found() {
        let header = b"ca, zh-Hant-TW;q=0.9, es;q=0.8";
        assert_eq!(find_preferred_tag_among(header, |_| true), b"ca");
        assert_eq!(find_preferred_tag_among(header, |tag| tag != b"ca"), b"zh-Hant-TW");
        assert_eq!(find_preferred_tag_among(header, |tag| tag == b"es"), b"es");
        assert_eq!(find_preferred_tag_among(header, |_| false), b"");
    }

    #[test]
    fn a_header_of_16_kib_is_read_at_its_start_alone() {
        let header = [b"th;q=0.1,".to_vec(), b"x".repeat(600), b",de;q=1".to_vec()].concat();
        assert_eq!(find_preferred_language(&header), b"th");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_primary_tag_or_nothing(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = find_preferred_language(&header);
            prop_assert!(found.len() <= 3 && found.iter().all(u8::is_ascii_alphabetic));
        }
    }
}
