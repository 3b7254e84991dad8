//! Minting: the id of a click and the random bytes behind it.

use rand::{Rng, SeedableRng, rngs::StdRng, rngs::SysRng};

/// The id of a click: a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClickId(pub [u8; 16]);

impl ClickId {
    /// Mints one. `id_ms` is the later of the wall's time and the lane's last id, kept by the caller; 48 bits of it count.
    pub fn mint(id_ms: u64, random: &[u8; 10]) -> ClickId {
        ClickId(uuid::Builder::from_unix_timestamp_millis(id_ms, random).into_uuid().into_bytes())
    }

    /// Its time, milliseconds since the epoch.
    pub const fn ms(self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Its text: 36 characters, lower case, with hyphens.
    pub fn text(self) -> [u8; 36] {
        let mut text = [0; 36];
        uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut text);
        text
    }

    /// Reads the text form.
    pub fn parse(text: &[u8]) -> Option<ClickId> {
        uuid::Uuid::try_parse_ascii(text).ok().map(|id| ClickId(id.into_bytes()))
    }
}

/// The random bytes of one click.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// For the click id.
    pub click: [u8; 10],
    /// For a new visitor's id.
    pub visitor: [u8; 16],
}

impl Seed {
    /// This click's id.
    pub fn click_id(&self, id_ms: u64) -> ClickId {
        ClickId::mint(id_ms, &self.click)
    }
}

/// A worker's own source of seeds: ChaCha, seeded by the system once. A system call for each click would cost 48 ns even
/// in batches.
pub struct Seeds(StdRng);

impl Seeds {
    /// Takes a seed from the system. Fails where the system has no randomness to give: no start without.
    pub fn new() -> Result<Seeds, std::io::Error> {
        StdRng::try_from_rng(&mut SysRng).map(Seeds).map_err(std::io::Error::from)
    }

    /// The next click's bytes.
    pub fn next_seed(&mut self) -> Seed {
        let mut seed = Seed::default();
        self.0.fill_bytes(&mut seed.click);
        self.0.fill_bytes(&mut seed.visitor);
        seed
    }
}
