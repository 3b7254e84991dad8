//! Refusals of the catalog, and names of links, as a person reads them.

use super::place::Refusal;
use crate::{
    catalog::change::{LinkName, RowRefusal},
    model::link::record::RecordError,
};

/// The link as `DOMAIN/CODE`.
pub(super) fn text_of(name: &LinkName) -> String {
    format!("{}/{}", name.domain, name.code)
}

/// A refusal with the word that the API has for it.
pub(super) fn to_refusal(refusal: &RowRefusal) -> Refusal {
    let rule = match refusal {
        RowRefusal::Invalid(_) | RowRefusal::NotARecord(_) => "invalid",
        RowRefusal::Unchangeable(_) => "unchangeable",
        RowRefusal::CodeReserved { .. } => "code-reserved",
        RowRefusal::Exists { .. } => "exists",
        RowRefusal::NotFound => "not-found",
        RowRefusal::VersionDiffers { .. } => "version-differs",
        RowRefusal::VersionNeeded { .. } => "version-needed",
    };
    Refusal { rule: rule.to_owned(), message: describe_refusal(refusal) }
}

/// Why a row is refused, and what to do.
pub(super) fn describe_refusal(refusal: &RowRefusal) -> String {
    match refusal {
        RowRefusal::Invalid(errors) | RowRefusal::Unchangeable(errors) => join(errors),
        RowRefusal::CodeReserved { reusable_at_ms, errors } => {
            let time = i64::try_from(*reusable_at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let time = time.map_or_else(|| reusable_at_ms.to_string(), |time| time.to_string());
            format!("the code belongs to a removed link until {time}; {}", join(errors))
        }
        RowRefusal::Exists { version } => format!("there is a link of this code, at version {version}"),
        RowRefusal::NotFound => "there is no such link".to_owned(),
        RowRefusal::VersionDiffers { found: Some(version) } => {
            format!("the link was changed meanwhile, and has version {version}; look at it and try again")
        }
        RowRefusal::VersionDiffers { found: None } => "the link was removed meanwhile".to_owned(),
        RowRefusal::VersionNeeded { found } => {
            format!("another link has this code, at version {found}; give the new link another code, or --replace it")
        }
        RowRefusal::NotARecord(message) => message.clone(),
    }
}

fn join(errors: &[RecordError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
