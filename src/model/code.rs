//! The code of a link: the path of its short URL without the slash.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// The longest code, in bytes.
pub const MAX: usize = 64;
/// Codes up to this length are held inline, without heap.
const INLINE: usize = 15;

/// 1 to 64 bytes of `[0-9A-Za-z_-]`; case-sensitive. Up to 15 bytes cost no heap.
#[derive(Clone)]
pub struct Code(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

/// Why bytes are not a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// No bytes.
    #[error("a code has 1 to 64 characters, this one is empty")]
    Empty,
    /// More than [`MAX`] bytes.
    #[error("a code has 1 to 64 characters, this one has {0} bytes")]
    Long(usize),
    /// A byte outside the alphabet, and where.
    #[error("character {} of the code is not one of 0-9, A-Z, a-z, _ and -", at + 1)]
    Alphabet {
        /// Offset of the byte.
        at: usize,
    },
}

impl CodeError {
    /// The name of the broken rule, for programs.
    pub const fn rule(self) -> &'static str {
        match self {
            CodeError::Empty => "code-empty",
            CodeError::Long(_) => "code-long",
            CodeError::Alphabet { .. } => "code-character",
        }
    }
}

/// Whether a code may hold this byte.
pub const fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl Code {
    /// The code in these bytes, if length and alphabet are a code's.
    pub fn parse(bytes: &[u8]) -> Result<Code, CodeError> {
        if bytes.is_empty() {
            return Err(CodeError::Empty);
        }
        if bytes.len() > MAX {
            return Err(CodeError::Long(bytes.len()));
        }
        if let Some(at) = bytes.iter().position(|byte| !is_code_byte(*byte)) {
            return Err(CodeError::Alphabet { at });
        }
        Ok(Code(if bytes.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            Repr::Inline { len: bytes.len() as u8, bytes: inline }
        } else {
            Repr::Heap(bytes.into())
        }))
    }

    /// The code's bytes, ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so the default is never taken.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The code in lower case, for a domain that ignores case.
    pub fn to_lowercase(&self) -> Code {
        let mut folded = self.clone();
        match &mut folded.0 {
            Repr::Inline { bytes, .. } => bytes.make_ascii_lowercase(),
            Repr::Heap(bytes) => bytes.make_ascii_lowercase(),
        }
        folded
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Code {}

impl Hash for Code {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.as_str())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_has_three_machine_words_at_most_and_a_short_one_allocates_nothing() {
        assert_eq!(size_of::<Code>(), 24);
        assert!(matches!(Code::parse(&[b'a'; 15]).unwrap().0, Repr::Inline { .. }));
        assert!(matches!(Code::parse(&[b'a'; 16]).unwrap().0, Repr::Heap(_)));
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_code() {
        assert_eq!(Code::parse(b""), Err(CodeError::Empty));
        assert_eq!(Code::parse(&[b'a'; 65]), Err(CodeError::Long(65)));
        assert_eq!(Code::parse(b"ab/c"), Err(CodeError::Alphabet { at: 2 }));
        let text = Code::parse(b"ab c").unwrap_err().to_string();
        assert_eq!(text, "character 3 of the code is not one of 0-9, A-Z, a-z, _ and -");
    }

    #[test]
    fn lower_case_changes_letters_alone() {
        assert_eq!(Code::parse(b"aB_9-Z").unwrap().to_lowercase().as_str(), "ab_9-z");
        assert_eq!(Code::parse(&[b'Q'; 40]).unwrap().to_lowercase().as_bytes(), [b'q'; 40]);
    }

    proptest! {
        #[test]
        fn parse_accepts_exactly_the_bytes_of_the_alphabet_and_length(
            bytes in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
            let is_code = (1..=64).contains(&bytes.len()) && bytes.iter().all(|byte| alphabet.contains(byte));
            match Code::parse(&bytes) {
                Ok(code) => {
                    prop_assert!(is_code);
                    prop_assert_eq!(code.as_bytes(), &bytes[..]);
                }
                Err(_) => prop_assert!(!is_code),
            }
        }

        #[test]
        fn every_text_of_the_alphabet_is_a_code(text in "[0-9A-Za-z_-]{1,64}") {
            let code = Code::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(code.as_str(), &text);
            prop_assert_eq!(code.clone(), code);
        }
    }
}
