//! Sizes as people write them: `4096`, `"16 KiB"`, `"64 MiB"`, `"8 GiB"`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes. In a configuration it is a plain integer or a string with a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`
/// (powers of 1024). Decimal units are refused: a disk's `GB` and a ring's `GiB` differ by 7 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// What is allowed, for the one who wrote something else.
const ALLOWED: &str = "a size: bytes as an integer, or a whole number with B, KiB, MiB, GiB or TiB such as \"64 MiB\"";

/// Why a text is not a size.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not {ALLOWED}")]
pub struct SizeError(String);

impl Bytes {
    /// So many kibibytes.
    pub const fn kib(n: u64) -> Bytes {
        Bytes(n << 10)
    }

    /// So many mebibytes.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }

    /// So many gibibytes.
    pub const fn gib(n: u64) -> Bytes {
        Bytes(n << 30)
    }

    /// The number, for use as a length in memory.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Bytes, SizeError> {
        let refused = || SizeError(text.to_owned());
        let digits = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| digits.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
            .unwrap_or((digits, 1));
        // `u64::from_str` takes a leading plus sign; a size has none.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let number: u64 = number.parse().map_err(|_| refused())?;
        number.checked_mul(factor).map(Bytes).ok_or_else(refused)
    }
}

impl fmt::Display for Bytes {
    /// The largest unit that divides it; what is printed reads back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "0 B"),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Bytes, E> {
        u64::try_from(bytes).map(Bytes).map_err(|_| E::custom(SizeError(bytes.to_string())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_an_integer_or_a_whole_number_with_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("16KiB", 16 << 10),
            ("64 MiB", 64 << 20),
            (" 8 GiB ", 8 << 30),
            ("7 B", 7),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
    }

    #[test]
    fn decimal_units_signs_fractions_and_overflow_are_refused() {
        for text in ["", "B", "1.5 MiB", "64 MB", "64 mib", "-1", "+1", "99999999 TiB", "1 KiB 2"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains("64 MiB"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for size in [Bytes(0), Bytes(1), Bytes(1025), Bytes::kib(16), Bytes::mib(1536), Bytes::gib(8), Bytes(u64::MAX)]
        {
            assert_eq!(size.to_string().parse::<Bytes>().unwrap(), size);
        }
        assert_eq!(Bytes::mib(1536).to_string(), "1536 MiB");
    }
}
