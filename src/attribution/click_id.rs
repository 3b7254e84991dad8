//! The id of a click.

/// The id of a click: a UUIDv7, which starts with the click's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClickId(pub [u8; 16]);

impl ClickId {
    /// Makes an id of a time in milliseconds since the epoch, of which 48 bits count, and of random bytes.
    pub fn mint(id_ms: u64, random: &[u8; 10]) -> ClickId {
        ClickId(uuid::Builder::from_unix_timestamp_millis(id_ms, random).into_uuid().into_bytes())
    }

    /// The time in the id, milliseconds since the epoch.
    pub const fn timestamp_ms(self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The id as text: 36 characters, lower case, with hyphens.
    pub fn text(self) -> [u8; 36] {
        let mut text = [0; 36];
        uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut text);
        text
    }

    /// Parses the text of an id.
    pub fn parse(text: &[u8]) -> Option<ClickId> {
        uuid::Uuid::try_parse_ascii(text).ok().map(|id| ClickId(id.into_bytes()))
    }

    /// Whether the bits say that this is a UUIDv7, as each click id is.
    pub fn is_uuid_v7(self) -> bool {
        uuid::Uuid::from_bytes(self.0).get_version() == Some(uuid::Version::SortRand)
    }
}
