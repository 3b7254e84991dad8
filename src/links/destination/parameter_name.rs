//! The comparison of parameters' names as back ends read them. A stricter one would let `ReF`, `%72ef`, `ref[]` or
//! `creator[id` replace the stored `ref` or `creator_id`.
//!
//! A name is read as the most lenient usual back ends do (PHP, Rack, ASP.NET): decoded; case and leading blanks do not
//! count; a dot or a blank is an underscore; NUL ends the name. Closed brackets hold an index, as in `filter[brand]`.
//! Two back ends differ about a bracket that is not closed: for PHP it is an underscore (`creator[id` is `creator_id`),
//! for Rack it opens an index all the same. So such a name is compared in both readings.

use crate::uri::percent;

/// What a back end makes of `[` without `]`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnclosedBracket {
    Underscore,
    OpensIndex,
}

/// A part of a name as a back end reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbol {
    /// A character of the name or of an index.
    Byte(u8),
    /// An index follows.
    Index,
    /// An empty index: the back end appends, and counts from 0.
    NextIndex,
}

/// Reads a name symbol by symbol.
struct NameReader<D> {
    /// The decoded bytes that are not read yet.
    rest: D,
    unclosed: UnclosedBracket,
    part: NamePart,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NamePart {
    /// In front of the brackets.
    Name,
    /// The same, and no bracket that follows is closed: none is looked for again, so that a name costs one pass.
    NameWithoutIndices,
    InIndex,
    End,
}

/// Whether a name is empty for a back end, which then drops the parameter.
pub(super) fn is_empty_name(name: &[u8]) -> bool {
    // Most names end here, before anything is decoded.
    if name.first().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    NameReader::new(name, UnclosedBracket::Underscore).next().is_none_or(|first| !matches!(first, Symbol::Byte(_)))
}

/// Whether some back end may read both names as the same parameter, or one as a part of the other: `filter` and
/// `filter[brand]`, of which the later replaces the earlier.
pub(super) fn may_backend_read_as_same_name(one: &[u8], other: &[u8]) -> bool {
    // Most names differ in their first letter, if that needs no decoding. Only the others are decoded for the
    // comparison.
    let letter = |name: &[u8]| name.first().filter(|first| first.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    match (letter(one), letter(other)) {
        (Some(first), Some(second)) if first != second => false,
        _ => {
            let are_same = |unclosed| are_same_or_one_holds_the_other(one, other, unclosed);
            are_same(UnclosedBracket::Underscore) || are_same(UnclosedBracket::OpensIndex)
        }
    }
}

fn are_same_or_one_holds_the_other(one: &[u8], other: &[u8], unclosed: UnclosedBracket) -> bool {
    let (mut one, mut other) = (NameReader::new(one, unclosed), NameReader::new(other, unclosed));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(Symbol::Byte(byte)), Some(Symbol::Byte(other_byte))) if byte == other_byte => {}
            (Some(Symbol::Index), Some(Symbol::Index)) | (Some(Symbol::NextIndex), Some(Symbol::NextIndex)) => {}
            // The one without an index is the whole that the other's index is in.
            (None, Some(Symbol::Index | Symbol::NextIndex)) | (Some(Symbol::Index | Symbol::NextIndex), None) => {
                return true;
            }
            // The next index is a number.
            (Some(Symbol::NextIndex), Some(Symbol::Index)) => return other.rest_of_index_is_number(),
            (Some(Symbol::Index), Some(Symbol::NextIndex)) => return one.rest_of_index_is_number(),
            _ => return false,
        }
    }
}

impl<'a> NameReader<()> {
    fn new(name: &'a [u8], unclosed: UnclosedBracket) -> NameReader<impl Iterator<Item = u8> + Clone + use<'a>> {
        let decoded = percent::decode_form(name).skip_while(u8::is_ascii_whitespace).take_while(|byte| *byte != 0);
        NameReader { rest: decoded, unclosed, part: NamePart::Name }
    }
}

impl<D: Iterator<Item = u8> + Clone> NameReader<D> {
    /// The start of an index behind its `[`, or `None` if the bracket opens none.
    fn enter_index_if_opened(&mut self) -> Option<Symbol> {
        if self.unclosed == UnclosedBracket::Underscore && !self.rest.clone().any(|byte| byte == b']') {
            return None;
        }
        self.part = NamePart::InIndex;
        let mut behind_blanks = self.rest.clone().skip_while(u8::is_ascii_whitespace).peekable();
        if matches!(behind_blanks.peek(), Some(b']') | None) {
            // Blanks alone are an empty index.
            while self.rest.clone().next().is_some_and(|byte| byte != b']') {
                self.rest.next();
            }
            return Some(Symbol::NextIndex);
        }
        Some(Symbol::Index)
    }

    fn rest_of_index_is_number(self) -> bool {
        self.rest.take_while(|byte| *byte != b']').all(|byte| byte.is_ascii_digit())
    }

    fn next_of_name(&mut self) -> Option<Symbol> {
        let byte = self.rest.next()?;
        if byte == b'[' && self.part == NamePart::Name {
            match self.enter_index_if_opened() {
                Some(index) => return Some(index),
                None => self.part = NamePart::NameWithoutIndices,
            }
        }
        Some(Symbol::Byte(match byte {
            b'[' | b'.' | b' ' => b'_',
            byte => byte.to_ascii_lowercase(),
        }))
    }

    fn next_of_index(&mut self) -> Option<Symbol> {
        match self.rest.next()? {
            b']' => {
                self.part = NamePart::End;
                // What stands behind the last index does not count.
                match self.rest.next() {
                    Some(b'[') => self.enter_index_if_opened(),
                    _ => None,
                }
            }
            byte => Some(Symbol::Byte(byte.to_ascii_lowercase())),
        }
    }
}

impl<D: Iterator<Item = u8> + Clone> Iterator for NameReader<D> {
    type Item = Symbol;

    fn next(&mut self) -> Option<Symbol> {
        match self.part {
            NamePart::Name | NamePart::NameWithoutIndices => self.next_of_name(),
            NamePart::InIndex => self.next_of_index(),
            NamePart::End => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_same(one: &str, other: &str) -> bool {
        let forth = may_backend_read_as_same_name(one.as_bytes(), other.as_bytes());
        assert_eq!(may_backend_read_as_same_name(other.as_bytes(), one.as_bytes()), forth, "{one} {other}");
        forth
    }

    #[test]
    fn names_are_the_same_for_the_most_lenient_back_end() {
        for other in ["ref", "REF", "%72ef", "r%65F", "ref[]", "ref[a]", "+ref", "%20ref", "ref%00x", "ref%5Ba%5D"] {
            assert!(are_same("ref", other), "{other}");
        }
        assert!(are_same("utm_source", "utm.source"));
        for other in ["refx", "re", "", "xref", "ref%"] {
            assert!(!are_same("ref", other), "{other}");
        }
    }

    #[test]
    fn a_bracket_that_is_not_closed_is_an_underscore_or_opens_an_index() {
        for thief in
            ["creator[id", "creator%5Bid", "Creator[ID", "creator.id", "creator+id", "+creator[id", "creator[id%00]"]
        {
            assert!(are_same("creator_id", thief), "{thief}");
        }
        assert!(are_same("a_b_c", "a[b.c") && are_same("a_b_c", "a[b[c") && are_same("ref_", "ref["));
        assert!(are_same("creator", "creator[id"), "Rack reads creator[id]");
        assert!(!are_same("creator_id", "creator[id]") && !are_same("creator_id", "creator[x"));
    }

    #[test]
    fn names_that_differ_inside_brackets_are_different() {
        for (one, other) in [
            ("filter[brand]", "filter[size]"),
            ("filter[brand]", "filter[]"),
            ("filter[a][b]", "filter[a][c]"),
            ("filter[a][]", "filter[b][]"),
        ] {
            assert!(!are_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("filter[brand]", "Filter%5BBRAND%5D"),
            ("filter[brand]", "filter"),
            ("filter[brand]", "filter[brand][x]"),
            ("filter[brand]", "filter[brand]x"),
            ("filter[]", "filter[ ]"),
            ("filter[]", "filter[0]"),
            ("filter[a][]", "filter[a][12]"),
        ] {
            assert!(are_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn an_empty_name_is_none() {
        for name in ["", "+", "%20", "[a]", "%00a", "+[]"] {
            assert!(is_empty_name(name.as_bytes()), "{name}");
        }
        for name in ["a", "[a", ".", "%5B"] {
            assert!(!is_empty_name(name.as_bytes()), "{name}");
        }
    }
}
