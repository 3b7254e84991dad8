//! What a link has to be before a change.

use super::{
    change::{ExpectedLink, RowRefusal},
    store::StoredLink,
};

/// The refusal if the stored link is not what is expected. `is_same`: it has the record that is to be written.
pub(super) fn check_expected(expected: ExpectedLink, stored: Option<&StoredLink>, is_same: bool) -> Option<RowRefusal> {
    match (expected, stored) {
        (ExpectedLink::Any, _) | (ExpectedLink::Absent | ExpectedLink::AbsentOrSame, None) => None,
        (ExpectedLink::Absent, Some(stored)) => Some(RowRefusal::Exists { version: stored.version }),
        (ExpectedLink::AtVersion(version), Some(stored)) if stored.version == version => None,
        (ExpectedLink::AtVersion(_), stored) => {
            Some(RowRefusal::VersionDiffers { found: stored.map(|stored| stored.version) })
        }
        (ExpectedLink::AbsentOrSame, Some(stored)) => {
            (!is_same).then_some(RowRefusal::VersionNeeded { found: stored.version })
        }
        (ExpectedLink::AtVersionOrDone(version), stored) => {
            let found = stored.map(|stored| stored.version);
            (found != version && !is_same).then_some(match (version, found) {
                (None, Some(version)) => RowRefusal::Exists { version },
                _ => RowRefusal::VersionDiffers { found },
            })
        }
    }
}

pub(super) fn refusal_of_absent_link(expected: ExpectedLink) -> RowRefusal {
    match expected {
        ExpectedLink::AtVersion(_) => RowRefusal::VersionDiffers { found: None },
        _ => RowRefusal::NotFound,
    }
}
