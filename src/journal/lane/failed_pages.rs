//! Pages of a segment that the medium did not give, and how often each was asked for.

use std::{collections::BTreeMap, ops::Range};

/// A page that the medium does not give is asked for so many times before it counts as damage. The caller waits between
/// the attempts, for a controller or a network may need a second to come back.
const READ_ATTEMPTS: u32 = 3;

/// The pages of one file that failed, by their offsets. A page is forgotten once it can be read.
#[derive(Debug, Default)]
pub(super) struct FailedPages {
    file_number: u64,
    attempts: BTreeMap<u64, u32>,
}

impl FailedPages {
    /// Takes one more read of the bytes `range` of a file into account, in which these pages were unreadable. Returns
    /// whether each of them was asked for often enough to be lost.
    pub(super) fn count_attempt_and_return_if_all_are_lost(
        &mut self,
        file_number: u64,
        range: Range<u64>,
        unreadable_pages: &[u64],
    ) -> bool {
        if file_number != self.file_number {
            *self = FailedPages { file_number, attempts: BTreeMap::new() };
        }
        self.attempts.retain(|page, _| !range.contains(page) || unreadable_pages.contains(page));
        for page in unreadable_pages {
            *self.attempts.entry(*page).or_default() += 1;
        }
        unreadable_pages.iter().all(|page| self.attempts[page] >= READ_ATTEMPTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_asked_for_three_times_and_one_that_comes_back_is_forgotten() {
        let mut pages = FailedPages::default();
        let mut read = |unreadable: &[u64]| pages.count_attempt_and_return_if_all_are_lost(7, 0..16_384, unreadable);
        assert!(read(&[]));
        assert_eq!([read(&[0]), read(&[0]), read(&[0])], [false, false, true]);
        // A second page of the same file has its own attempts; the first one stays lost.
        assert_eq!([read(&[0, 4096]), read(&[0, 4096]), read(&[0, 4096])], [false, false, true]);
        assert!(read(&[0]));
        assert_eq!([read(&[4096]), read(&[4096])], [false; 2]);
        // A read elsewhere says nothing about them.
        assert!(pages.count_attempt_and_return_if_all_are_lost(7, 16_384..32_768, &[]));
        assert!(pages.count_attempt_and_return_if_all_are_lost(7, 0..16_384, &[4096]));
        assert!(!pages.count_attempt_and_return_if_all_are_lost(8, 0..16_384, &[4096]), "of another file");
    }
}
