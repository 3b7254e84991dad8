//! Parameters: taking queries apart, comparing names as the laxest reader would, writing what comes from outside.

use std::ops::Range;

/// The most incoming parameters looked at; what lies behind is not forwarded. Bounds the work of one click.
const MAX_PARAMETERS: usize = 64;
/// The most bytes of incoming parameters forwarded, as written.
pub(crate) const MAX_FORWARDED: usize = 4096;
/// The most bytes taken of a `sub` parameter's value, decoded.
pub(crate) const MAX_SUB: usize = 255;
/// Parameters of a short link that are addressed to Waypost itself: recorded, not forwarded.
pub(crate) const RESERVED: [&str; 6] = ["sub1", "sub2", "sub3", "sub4", "sub5", "cons"];

/// Whether Waypost keeps the parameter to itself.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    RESERVED.iter().any(|reserved| same_name(reserved.as_bytes(), name))
}

/// One parameter of an incoming query, still encoded.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    /// Name, `=` and value.
    pub(super) whole: &'a [u8],
    /// The name; not empty.
    pub(super) name: &'a [u8],
}

/// The first parameters of an incoming query.
pub(super) struct Incoming<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(query: &'a [u8]) -> Incoming<'a> {
        Incoming { rest: query, left: MAX_PARAMETERS }
    }
}

impl<'a> Iterator for Incoming<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        while self.left > 0 && !self.rest.is_empty() {
            self.left -= 1;
            let end = memchr::memchr(b'&', self.rest).unwrap_or(self.rest.len());
            let whole = &self.rest[..end];
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            let name = &whole[..memchr::memchr(b'=', whole).unwrap_or(whole.len())];
            if lax(name).next().is_some() {
                return Some(Pair { whole, name });
            }
        }
        None
    }
}

/// Where the stored URL's query lies: behind `?`, up to the fragment. Empty and behind the end if there is none.
pub(super) fn stored(text: &[u8], insert_at: usize) -> Range<usize> {
    let start = memchr::memchr(b'?', &text[..insert_at]).map_or(insert_at, |at| at + 1);
    start..insert_at
}

/// One parameter of a stored query.
pub(super) struct Part<'a> {
    pub(super) name: &'a [u8],
    /// Name, `=` and value, as a range of the whole text.
    pub(super) range: Range<usize>,
}

/// The parameters of a stored query.
pub(super) fn parts(text: &[u8], query: Range<usize>) -> impl Iterator<Item = Part<'_>> {
    let mut from = query.start;
    text[query].split(|byte| *byte == b'&').map(move |whole| {
        let range = from..from + whole.len();
        from = range.end + 1;
        Part { name: &whole[..memchr::memchr(b'=', whole).unwrap_or(whole.len())], range }
    })
}

/// The value of `sub1` (place 0) to `sub5` in an incoming query, still encoded; empty if absent. The first one counts.
pub(super) fn sub(query: &[u8], place: u8) -> &[u8] {
    let name = RESERVED.get(usize::from(place)).map_or(&b""[..], |name| name.as_bytes());
    let pair = Incoming::new(query).find(|pair| pair.name == name);
    pair.map_or(&[], |pair| pair.whole.get(name.len() + 1..).unwrap_or_default())
}

/// A value's bytes, decoded: `%XX` and `+`.
pub(super) fn decode(encoded: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let (byte, taken) = match rest {
            [] => return None,
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [b'+', ..] => (b' ', 1),
            [byte, ..] => (*byte, 1),
        };
        rest = &rest[taken..];
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// A name as the laxest usual back end reads it: case, leading blanks, what follows `[` or NUL do not count, and a dot or
/// a blank is an underscore. Whoever compares less finely lets `ReF`, `%72ef` or `ref[]` steal what `ref` says.
fn lax(name: &[u8]) -> impl Iterator<Item = u8> {
    decode(name)
        .skip_while(u8::is_ascii_whitespace)
        .take_while(|byte| !matches!(byte, b'[' | 0))
        .map(|byte| if matches!(byte, b'.' | b' ') { b'_' } else { byte.to_ascii_lowercase() })
}

/// Whether some reader may take both for the same parameter.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    // Most names differ in their first letter, where it stands for itself; only the others are decoded to be compared.
    let letter = |name: &[u8]| name.first().filter(|first| first.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    match (letter(one), letter(other)) {
        (Some(first), Some(second)) if first != second => false,
        _ => lax(one).eq(lax(other)),
    }
}

const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Bytes of a forwarded parameter that stay as they are; `%` only in front of two hex digits. `;` does not: some readers
/// part parameters by it.
const fn kept_in_query(byte: u8) -> bool {
    unreserved(byte) || matches!(byte, b'=' | b'+' | b'/' | b':' | b'@' | b',' | b'!' | b'*' | b'(' | b')' | b'$')
}

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Writes decoded bytes so that they are data wherever they stand: only unreserved characters stay as they are.
pub(super) fn encode_value(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for byte in bytes {
        if unreserved(byte) { out.push(byte) } else { push_encoded(byte, out) }
    }
}

/// Writes an incoming parameter, keeping its own encoding where it has one.
pub(super) fn encode_part(whole: &[u8], out: &mut Vec<u8>) {
    if whole.iter().all(|byte| kept_in_query(*byte)) {
        return out.extend_from_slice(whole);
    }
    for (at, &byte) in whole.iter().enumerate() {
        let escape = byte == b'%'
            && matches!(whole.get(at + 1..at + 3), Some([high, low]) if hex(*high).and(hex(*low)).is_some());
        if escape || kept_in_query(byte) { out.push(byte) } else { push_encoded(byte, out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_for_the_laxest_reader() {
        for other in ["ref", "REF", "%72ef", "r%65F", "ref[]", "ref[a]", "+ref", "%20ref", "ref%00x"] {
            assert!(same_name(b"ref", other.as_bytes()), "{other}");
        }
        assert!(same_name(b"utm_source", b"utm.source"));
        for other in ["refx", "re", "", "xref", "ref%"] {
            assert!(!same_name(b"ref", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_parameter_keeps_its_own_encoding_and_nothing_else() {
        let mut out = Vec::new();
        encode_part("q=a%20b+c&%zz%;\u{e9}\"'<>\r\n#".as_bytes(), &mut out);
        assert_eq!(out, b"q=a%20b+c%26%25zz%25%3B%C3%A9%22%27%3C%3E%0D%0A%23");
    }

    #[test]
    fn the_first_sub_counts_and_absent_ones_are_empty() {
        assert_eq!(sub(b"sub1=a&sub2&sub1=b&sub3=%41", 0), b"a");
        assert_eq!(sub(b"sub1=a&sub2&sub1=b", 1), b"");
        assert_eq!(sub(b"sub1=a", 4), b"");
    }

    #[test]
    fn no_query_makes_a_click_expensive() {
        let many = b"a&".repeat(2048);
        assert_eq!(Incoming::new(&many).count(), MAX_PARAMETERS);
    }
}
