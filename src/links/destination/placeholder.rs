//! The placeholders of a destination that each click fills: `{click_id}`, `{click_token}`, `{sub1}` to `{sub5}`, what
//! is known about the click (`{os}` and the like), and `{query:NAME}`.

/// The placeholders' names, in the order of their numbers.
const NAMES: [&str; 13] = [
    "click_id",
    "click_token",
    "sub1",
    "sub2",
    "sub3",
    "sub4",
    "sub5",
    "device",
    "os",
    "country",
    "language",
    "source",
    "click_ms",
];
const CLICK_ID: u8 = 0;
const CLICK_TOKEN: u8 = 1;
const SUB1: u8 = 2;
const DEVICE: u8 = 7;
/// The number of the first parameter that `{query:NAME}` names; the next ones follow in the order of their names.
const FIRST_QUERY: u8 = NAMES.len() as u8;
/// `{code}` in a URL that belongs to no link alone. Behind every number of a name of `{query:NAME}`.
const CODE: u8 = 24;
/// The most parameters that the `{query:NAME}` of one URL name.
pub(super) const MAX_QUERY_NAMES: usize = 8;
/// Set in the number of a placeholder that stands in the path.
const IN_PATH: u8 = 0x80;
/// Set in the number of a placeholder that stands in a URL inside a value of the query.
const IN_NESTED_URL: u8 = 0x40;
const PLACE_BITS: u8 = IN_PATH | IN_NESTED_URL;

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
    /// What is known about the click.
    Known(KnownValue),
    /// An incoming parameter that the URL names.
    Query {
        /// Which of the template's names.
        index: u8,
    },
}

/// A value that is known about the click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownValue {
    /// The class of the device.
    Device,
    /// The operating system.
    Os,
    /// The country.
    Country,
    /// The language that the browser prefers.
    Language,
    /// The platform that the click comes from.
    Source,
    /// The time of the click, milliseconds since the epoch.
    ClickMs,
    /// The code of the link.
    Code,
}

impl KnownValue {
    /// Those with names in [`NAMES`], in the order of their numbers.
    const ALL: [KnownValue; 6] = [
        KnownValue::Device,
        KnownValue::Os,
        KnownValue::Country,
        KnownValue::Language,
        KnownValue::Source,
        KnownValue::ClickMs,
    ];
}

/// Where a placeholder stands, which decides how its value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceholderPlace {
    /// In a segment of the path.
    Path,
    /// In a value of the query, or in the fragment.
    QueryOrFragment,
    /// In a URL inside a value of the query: who decodes the value finds the URL encoded still.
    NestedUrl,
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
    pub(super) fn new(offset: u16, name_number: u8, place: PlaceholderPlace) -> Placeholder {
        let place = match place {
            PlaceholderPlace::Path => IN_PATH,
            PlaceholderPlace::QueryOrFragment => 0,
            PlaceholderPlace::NestedUrl => IN_NESTED_URL,
        };
        Placeholder { offset, number: name_number | place }
    }

    /// The number of a placeholder's name, without braces.
    pub(super) fn find_name_number(name: &str) -> Option<u8> {
        match name {
            "code" => Some(CODE),
            name => NAMES.iter().position(|known| *known == name).map(|number| number as u8),
        }
    }

    /// The number of `{query:NAME}` whose name is the one at `index` of the template's.
    pub(super) fn number_of_query_name(index: usize) -> u8 {
        FIRST_QUERY + index as u8
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

    /// Whether the placeholder stands in a URL inside a value of the query.
    pub(super) fn is_in_nested_url(self) -> bool {
        self.number & IN_NESTED_URL != 0
    }

    /// The value that the placeholder stands for.
    pub(super) fn kind(self) -> PlaceholderKind {
        match self.number & !PLACE_BITS {
            CLICK_ID => PlaceholderKind::ClickId,
            CLICK_TOKEN => PlaceholderKind::ClickToken,
            CODE => PlaceholderKind::Known(KnownValue::Code),
            number if number < DEVICE => PlaceholderKind::Sub { index: number - SUB1 },
            number => match KnownValue::ALL.get(usize::from(number - DEVICE)) {
                Some(known) => PlaceholderKind::Known(*known),
                None => PlaceholderKind::Query { index: number - FIRST_QUERY },
            },
        }
    }

    /// The name without braces; empty for a parameter that the template names.
    pub(super) fn name(self) -> &'static str {
        match self.number & !PLACE_BITS {
            CODE => "code",
            number => NAMES.get(usize::from(number)).copied().unwrap_or_default(),
        }
    }
}
