//! The codes of the records so far, to find those that stand twice. Exact, in some 25 bytes a code.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::links::domains::DomainId;

/// Bytes of one piece of [`CodeArena`].
const PIECE_BYTES: usize = 1 << 20;

/// Every code with its domain and the row that has it.
pub(super) struct SeenCodes {
    places: HashTable<CodePlace>,
    arena: CodeArena,
    hasher: RandomState,
}

/// A record's code, as its row writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DomainCode<'a> {
    pub(super) domain: DomainId,
    pub(super) code: &'a str,
}

/// The row that has a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowOfCode {
    /// The file, from 0. Of more than 65536 files the last ones share a number.
    pub(super) file: u32,
    pub(super) row: u64,
}

/// What is known about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeState {
    New,
    /// The domain has the code, written in the same way.
    Taken(RowOfCode),
    /// The domain ignores case and has the code, written in another way.
    TakenInOtherCase(RowOfCode),
}

/// Where an entry starts in the arena: the number of the piece, and the offset in it in the lowest 20 bits. So the
/// codes have at most 4 GiB.
#[derive(Clone, Copy)]
struct CodePlace(u32);

/// Entries one behind the other: row u48 | file u16 | domain u16 | length u8 | code.
#[derive(Default)]
struct CodeArena {
    pieces: Vec<Vec<u8>>,
}

const HEADER_BYTES: usize = 11;

struct Entry<'a> {
    row: RowOfCode,
    domain: DomainId,
    code: &'a [u8],
}

impl SeenCodes {
    pub(super) fn new() -> SeenCodes {
        SeenCodes { places: HashTable::new(), arena: CodeArena::default(), hasher: RandomState::default() }
    }

    /// Whether a record has the code.
    pub(super) fn find(&self, code: DomainCode<'_>) -> CodeState {
        let hash = hash_of(&self.hasher, code.domain, code.code.as_bytes());
        let found = self.places.find(hash, |place| {
            let entry = self.arena.entry(*place);
            entry.domain == code.domain && is_same_code(code.domain, entry.code, code.code.as_bytes())
        });
        let Some(place) = found else { return CodeState::New };
        let entry = self.arena.entry(*place);
        let row = entry.row;
        if entry.code == code.code.as_bytes() { CodeState::Taken(row) } else { CodeState::TakenInOtherCase(row) }
    }

    /// Adds a code that [`SeenCodes::find`] did not find.
    pub(super) fn insert(&mut self, code: DomainCode<'_>, row: RowOfCode) {
        let place = self.arena.push(row, code);
        let hash = hash_of(&self.hasher, code.domain, code.code.as_bytes());
        let (arena, hasher) = (&self.arena, &self.hasher);
        self.places.insert_unique(hash, place, |place| {
            let entry = arena.entry(*place);
            hash_of(hasher, entry.domain, entry.code)
        });
    }
}

fn is_same_code(domain: DomainId, one: &[u8], other: &[u8]) -> bool {
    if domain.ignores_case() { one.eq_ignore_ascii_case(other) } else { one == other }
}

fn hash_of(hasher: &RandomState, domain: DomainId, code: &[u8]) -> u64 {
    if !domain.ignores_case() {
        return hasher.hash_one((domain, code));
    }
    hasher.hash_one((domain, &*code.to_ascii_lowercase()))
}

impl CodeArena {
    fn push(&mut self, row: RowOfCode, code: DomainCode<'_>) -> CodePlace {
        let bytes = code.code.as_bytes();
        let len = bytes.len().min(u8::MAX.into());
        let fits = |piece: &Vec<u8>| piece.len() + HEADER_BYTES + len <= PIECE_BYTES;
        if !self.pieces.last().is_some_and(fits) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        let mut place = CodePlace(((self.pieces.len() - 1) * PIECE_BYTES) as u32);
        if let Some(piece) = self.pieces.last_mut() {
            place.0 |= piece.len() as u32;
            piece.extend_from_slice(&row.row.to_le_bytes()[..6]);
            piece.extend_from_slice(&u16::try_from(row.file).unwrap_or(u16::MAX).to_le_bytes());
            piece.extend_from_slice(&code.domain.to_bytes());
            piece.push(len as u8);
            piece.extend_from_slice(&bytes[..len]);
        }
        place
    }

    fn entry(&self, place: CodePlace) -> Entry<'_> {
        let bytes = &self.pieces[place.0 as usize / PIECE_BYTES][place.0 as usize % PIECE_BYTES..];
        let mut row = [0; 8];
        row[..6].copy_from_slice(&bytes[..6]);
        let end = HEADER_BYTES + usize::from(bytes[10]);
        Entry {
            row: RowOfCode { file: u16::from_le_bytes([bytes[6], bytes[7]]).into(), row: u64::from_le_bytes(row) },
            domain: DomainId::from_bytes([bytes[8], bytes[9]]),
            code: &bytes[HEADER_BYTES..end],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::links::domains::Domains;

    fn domains() -> Domains {
        let config = "[\"go.example.com\"]\n[\"fold.example.com\"]\ncase_insensitive = true";
        Domains::new(&toml::from_str(config).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn codes_are_found_as_a_map_finds_them(
            codes in prop::collection::vec((any::<bool>(), "[abAB]{1,3}"), 1..200),
        ) {
            let domains = domains();
            let (mut seen, mut model) = (SeenCodes::new(), HashMap::new());
            for (row, (folds, code)) in codes.iter().enumerate() {
                let name = if *folds { "fold.example.com" } else { "go.example.com" };
                let domain = domains.find_by_name(name).unwrap().id;
                let key = (*folds, if *folds { code.to_lowercase() } else { code.clone() });
                let row = RowOfCode { file: 3, row: row as u64 + (1 << 40) };
                let expected = match model.get(&key) {
                    None => CodeState::New,
                    Some((first, written)) if written == code => CodeState::Taken(*first),
                    Some((first, _)) => CodeState::TakenInOtherCase(*first),
                };
                let code = DomainCode { domain, code };
                prop_assert_eq!(seen.find(code), expected);
                if expected == CodeState::New {
                    seen.insert(code, row);
                    model.insert(key, (row, code.code.to_owned()));
                }
            }
        }
    }
}
