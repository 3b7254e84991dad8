//! The facts about a click that targets ask for. `edge` finds a fact at most once a click, and only if it is asked for.

use crate::{
    model::{
        device::{DeviceClass, Os},
        link::target::{MAX_ASKED_PARAMETERS, Visitor},
    },
    uri::query::find_value_of_parameter,
};

/// A fact that a target can ask for. The time and the query are known of every click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Fact {
    /// The operating system.
    Os = 1,
    /// The class of the device.
    Device = 1 << 1,
    /// The app whose browser opens the page.
    InApp = 1 << 2,
    /// The platform that the click comes from.
    Source = 1 << 3,
    /// The country.
    Country = 1 << 4,
    /// The region in the country.
    Region = 1 << 5,
    /// The language that the browser prefers.
    Language = 1 << 6,
    /// Whether the visitor returns.
    Visitor = 1 << 7,
    /// The bucket of the split.
    Split = 1 << 8,
    /// Parameters of the query.
    Query = 1 << 9,
}

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactSet(u16);

impl FactSet {
    /// The set of these bits.
    pub(super) const fn from_bits(bits: u16) -> FactSet {
        FactSet(bits)
    }

    /// The bits.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    /// Whether the fact is in the set.
    pub const fn has(self, fact: Fact) -> bool {
        self.0 & fact as u16 != 0
    }

    /// Whether no fact is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a fact.
    pub const fn insert(&mut self, fact: Fact) {
        self.0 |= fact as u16;
    }

    /// The facts of both sets.
    #[must_use]
    pub const fn union(self, other: FactSet) -> FactSet {
        FactSet(self.0 | other.0)
    }

    /// The facts that the other set lacks.
    #[must_use]
    pub const fn without(self, other: FactSet) -> FactSet {
        FactSet(self.0 & !other.0)
    }
}

/// The facts about one click, as far as they were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The wall clock, milliseconds since the epoch.
    pub now_ms: u64,
    /// The incoming query, without `?`.
    pub query: &'a [u8],
    /// The code of the link; empty until it is set.
    pub code: &'a [u8],
    /// The values of the parameters that were asked for, still encoded, by their numbers in the link; `None` if absent.
    pub(super) parameters: [Option<&'a [u8]>; MAX_ASKED_PARAMETERS],
    /// A bit for each parameter that was looked for.
    pub(super) searched_parameters: u8,
    /// The operating system.
    pub os: Os,
    /// The class of the device.
    pub device: DeviceClass,
    /// Whether the page opens in an app's own browser.
    pub is_in_app: bool,
    /// The app's name; empty if unknown.
    pub app: &'static str,
    /// The platform that the click comes from.
    pub source: &'static str,
    /// The country's code of ISO 3166-1 in capitals; `None` if unknown.
    pub country: Option<[u8; 2]>,
    /// The region's code in its country, in capitals; empty if unknown.
    pub region: &'a [u8],
    /// The language that the browser prefers; empty if it does not say.
    pub language: LanguageTag,
    /// Whether the visitor returns.
    pub visitor: Visitor,
    /// The index of the visitor's variant.
    pub variant: u8,
}

impl<'a> Facts<'a> {
    /// What is known of every click.
    pub fn of_click(now_ms: u64, query: &'a [u8]) -> Facts<'a> {
        Facts {
            now_ms,
            query,
            code: b"",
            parameters: [None; MAX_ASKED_PARAMETERS],
            searched_parameters: 0,
            os: Os::Other,
            device: DeviceClass::Other,
            is_in_app: false,
            app: "",
            source: "",
            country: None,
            region: b"",
            language: LanguageTag::default(),
            visitor: Visitor::New,
            variant: 0,
        }
    }

    /// Whether the query has the parameter of a number, which was looked for.
    pub fn has_parameter(&self, number: u8) -> bool {
        self.parameters.get(usize::from(number)).is_some_and(Option::is_some)
    }

    /// Looks for a parameter of the query, once. The case and the encoding of its name do not count.
    pub(super) fn find_parameter(&mut self, number: u8, name: &[u8]) {
        let bit = 1u8.checked_shl(number.into()).unwrap_or(0);
        if self.searched_parameters & bit == 0
            && let Some(value) = self.parameters.get_mut(usize::from(number))
        {
            self.searched_parameters |= bit;
            *value = find_value_of_parameter(self.query, name);
        }
    }
}

/// The primary tag of a language in lower case: two or three letters, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanguageTag {
    letters: [u8; 3],
    len: u8,
}

impl LanguageTag {
    /// The tag of these letters, in any case; `None` if they are none.
    pub fn parse(letters: &[u8]) -> Option<LanguageTag> {
        let is_tag = matches!(letters.len(), 2 | 3) && letters.iter().all(u8::is_ascii_alphabetic);
        is_tag.then(|| {
            let mut tag = LanguageTag { letters: [0; 3], len: letters.len() as u8 };
            tag.letters[..letters.len()].copy_from_slice(letters);
            tag.letters.make_ascii_lowercase();
            tag
        })
    }

    /// The letters; empty for none.
    pub fn as_bytes(&self) -> &[u8] {
        &self.letters[..usize::from(self.len)]
    }
}
