//! The placeholders of a destination that each click fills: `{click_id}`, `{click_token}`, and `{sub1}` to `{sub5}`.

/// The placeholders' names, in the order of their numbers.
const NAMES: [&str; 7] = ["click_id", "click_token", "sub1", "sub2", "sub3", "sub4", "sub5"];
const CLICK_ID: u8 = 0;
const CLICK_TOKEN: u8 = 1;
const SUB1: u8 = 2;
/// Set in the number of a placeholder that stands in the path.
const IN_PATH: u8 = 0x80;

/// The value that a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceholderKind {
    /// The click's id.
    ClickId,
    /// The click's URL token.
    ClickToken,
    /// The incoming parameter `sub1` (index 0) to `sub5`.
    Sub {
        /// Which of the five parameters.
        index: u8,
    },
}

/// One placeholder of a template.
#[derive(Clone, Copy)]
pub(super) struct Placeholder {
    /// Where the value belongs in the template's text, bytes.
    offset: u16,
    /// The name's index in [`NAMES`], and [`IN_PATH`].
    number: u8,
}

impl Placeholder {
    /// The length of an encoded placeholder, bytes.
    pub(super) const ENCODED_LEN: usize = 3;

    /// The placeholder of a name's number, at an offset in the text.
    pub(super) fn new(offset: u16, name_number: u8, is_in_path: bool) -> Placeholder {
        Placeholder { offset, number: name_number | if is_in_path { IN_PATH } else { 0 } }
    }

    /// The number of a placeholder's name, without braces.
    pub(super) fn find_name_number(name: &str) -> Option<u8> {
        NAMES.iter().position(|known| *known == name).map(|number| number as u8)
    }

    /// The placeholder in these bytes of a template.
    pub(super) fn decode([low, high, number]: [u8; Placeholder::ENCODED_LEN]) -> Placeholder {
        Placeholder { offset: u16::from_le_bytes([low, high]), number }
    }

    /// The bytes of the placeholder in a template.
    pub(super) fn encode(self) -> [u8; Placeholder::ENCODED_LEN] {
        let [low, high] = self.offset.to_le_bytes();
        [low, high, self.number]
    }

    /// Where the value belongs in the template's text, bytes.
    pub(super) fn offset(self) -> usize {
        usize::from(self.offset)
    }

    /// Whether the placeholder stands in a segment of the path.
    pub(super) fn is_in_path(self) -> bool {
        self.number & IN_PATH != 0
    }

    /// The value that the placeholder stands for.
    pub(super) fn kind(self) -> PlaceholderKind {
        match self.number & !IN_PATH {
            CLICK_ID => PlaceholderKind::ClickId,
            CLICK_TOKEN => PlaceholderKind::ClickToken,
            number => PlaceholderKind::Sub { index: number - SUB1 },
        }
    }

    /// The name without braces; empty if this build does not know the number.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(usize::from(self.number & !IN_PATH)).copied().unwrap_or_default()
    }
}
