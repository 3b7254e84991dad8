//! The code of a route: values of the request with letters of a code between them.
//!
//! Two requests that differ in a value never become one code: no value holds a character that stands between two
//! values, and a translation never makes a character that a value can hold already.

use std::collections::BTreeMap;

use crate::{
    links::routes::{mismatch::RouteMismatch, request_values::RequestValues, value_source::ValueSource},
    model::code::{self, Code, is_code_byte},
};

/// A part of a route's code.
#[derive(Clone, Debug)]
enum CodePart {
    /// Characters of a code.
    Literal(Box<str>),
    /// A value of the request.
    Value(ValueSource),
}

/// The code of a route.
#[derive(Clone, Debug)]
pub(super) struct CodeTemplate {
    parts: Vec<CodePart>,
    /// The characters between two values.
    joiners: Vec<u8>,
    translation: Translation,
}

/// Characters of a value that a code cannot hold, each with the character that stands for it in the code.
#[derive(Clone, Debug, Default)]
pub(super) struct Translation(Vec<(u8, u8)>);

impl CodeTemplate {
    /// Parses `code` of a route.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse(text: &str, translation: Translation) -> Result<CodeTemplate, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            push_literal_unless_empty(&rest[..open], &mut parts)?;
            let behind = &rest[open + 1..];
            let close = behind.find('}').ok_or_else(|| format!("is {text:?}, in which a brace is not closed"))?;
            parts.push(CodePart::Value(ValueSource::parse(&behind[..close])?));
            rest = &behind[close + 1..];
        }
        push_literal_unless_empty(rest, &mut parts)?;
        let values: Vec<usize> = (0..parts.len()).filter(|at| matches!(parts[*at], CodePart::Value(_))).collect();
        let Some((first, last)) = values.first().zip(values.last()) else {
            return Err(format!("is {text:?}; it needs a value, such as {{query:offer}}"));
        };
        if values.windows(2).any(|pair| pair[1] == pair[0] + 1) {
            return Err(format!(
                "is {text:?}; two values need a character between them, or 1 and 23 would be the code of 12 and 3"
            ));
        }
        let joiners: Vec<u8> = parts[*first..=*last].iter().flat_map(CodePart::literal_bytes).copied().collect();
        Ok(CodeTemplate { parts, joiners, translation })
    }

    /// Every value that the code is made of.
    pub(super) fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        self.parts.iter().filter_map(|part| match part {
            CodePart::Value(source) => Some(source),
            CodePart::Literal(_) => None,
        })
    }

    /// The character between two values that a translation makes too, if there is one.
    pub(super) fn find_joiner_made_by_translation(&self) -> Option<char> {
        let made = self.translation.0.iter().map(|(_, to)| *to);
        made.into_iter().find(|to| self.is_joiner(*to)).map(char::from)
    }

    /// Makes the code of a request.
    ///
    /// # Errors
    /// A value is missing, given several times, or cannot be in the code; or the code is too long.
    pub(super) fn build_code(&self, values: &RequestValues<'_>) -> Result<Code, RouteMismatch> {
        let mut bytes = Vec::with_capacity(code::MAX);
        for part in &self.parts {
            match part {
                CodePart::Literal(literal) => bytes.extend_from_slice(literal.as_bytes()),
                CodePart::Value(source) => {
                    for byte in values.find_only_value(source)? {
                        let byte = self.translation.translate(byte).filter(|byte| is_code_byte(*byte));
                        bytes.push(byte.ok_or(RouteMismatch::Character)?);
                        if bytes.last().is_some_and(|byte| self.is_joiner(*byte)) {
                            return Err(RouteMismatch::Joiner);
                        }
                    }
                }
            }
        }
        Code::parse(&bytes).map_err(|_| RouteMismatch::Long)
    }

    /// Whether a character stands between two values. Case does not count: a domain can ignore it.
    fn is_joiner(&self, byte: u8) -> bool {
        self.joiners.iter().any(|joiner| joiner.eq_ignore_ascii_case(&byte))
    }
}

impl CodePart {
    fn literal_bytes(&self) -> &[u8] {
        match self {
            CodePart::Literal(literal) => literal.as_bytes(),
            CodePart::Value(_) => &[],
        }
    }
}

fn push_literal_unless_empty(literal: &str, parts: &mut Vec<CodePart>) -> Result<(), String> {
    if let Some(char) = literal.chars().find(|char| !char.is_ascii() || !is_code_byte(*char as u8)) {
        return Err(format!("has {char:?} outside of braces; allowed are the characters 0-9, A-Z, a-z, _ and -"));
    }
    if !literal.is_empty() {
        parts.push(CodePart::Literal(literal.into()));
    }
    Ok(())
}

impl Translation {
    /// Parses `translate` of a route.
    ///
    /// # Errors
    /// An entry that is not one character for one character of a code, or two that become the same.
    pub(super) fn parse(written: &BTreeMap<String, String>) -> Result<Translation, String> {
        let mut pairs: Vec<(u8, u8)> = Vec::new();
        for (from, to) in written {
            let (Some(from), Some(to)) = (only_graphic_ascii_byte(from), only_graphic_ascii_byte(to)) else {
                return Err(format!("has {from:?} = {to:?}; allowed is one character for one character"));
            };
            if !is_code_byte(to) {
                return Err(format!("makes {:?}, which no code can hold", char::from(to)));
            }
            if let Some((other, _)) = pairs.iter().find(|(_, made)| *made == to) {
                return Err(format!(
                    "makes {:?} of both {:?} and {:?}: two offers would become one code",
                    char::from(to),
                    char::from(*other),
                    char::from(from)
                ));
            }
            pairs.push((from, to));
        }
        Ok(Translation(pairs))
    }

    /// The character that stands for `byte` in the code. `None` if `byte` stands for another one there.
    fn translate(&self, byte: u8) -> Option<u8> {
        match self.0.iter().find(|(from, _)| *from == byte) {
            Some((_, to)) => Some(*to),
            None => self.0.iter().all(|(_, to)| *to != byte).then_some(byte),
        }
    }
}

fn only_graphic_ascii_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() => Some(*byte),
        _ => None,
    }
}
