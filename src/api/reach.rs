//! Which links a key reaches. A link outside its bounds does not exist for it.

use serde::Deserialize;

use crate::catalog::{
    api_keys::KeyBounds,
    change::LinkName,
    query::{AuditLine, FilterField},
};

/// The fields of a record that bounds look at.
#[derive(Debug, Default, Deserialize)]
struct Owners {
    creator: Option<String>,
    partner: Option<String>,
}

/// Whether the bounds include a link of this domain, creator and partner.
pub(super) fn is_in_bounds(bounds: &KeyBounds, domain: &str, creator: Option<&str>, partner: Option<&str>) -> bool {
    let allows = |bound: &Option<Vec<String>>, value: Option<&str>| match bound {
        None => true,
        Some(allowed) => value.is_some_and(|value| allowed.iter().any(|allowed| allowed == value)),
    };
    allows(&bounds.domains, Some(domain)) && allows(&bounds.creators, creator) && allows(&bounds.partners, partner)
}

/// Whether the bounds include the link of this record.
pub(super) fn is_record_in_bounds(bounds: &KeyBounds, name: &LinkName, record: &str) -> bool {
    if *bounds == KeyBounds::default() {
        return true;
    }
    let owners: Owners = serde_json::from_str(record).unwrap_or_default();
    is_in_bounds(bounds, &name.domain, owners.creator.as_deref(), owners.partner.as_deref())
}

/// Whether the bounds include the link that a line of the audit is about.
pub(super) fn is_audit_line_in_bounds(bounds: &KeyBounds, line: &AuditLine) -> bool {
    // Creator and partner never change, so either record tells them.
    let record = line.after.as_deref().or(line.before.as_deref()).unwrap_or("{}");
    is_record_in_bounds(bounds, &line.name, record)
}

/// The bounds as conditions of a list.
pub(super) fn filters_of_bounds(bounds: &KeyBounds) -> Vec<(FilterField, Vec<String>)> {
    let fields = [
        (FilterField::Domain, &bounds.domains),
        (FilterField::Creator, &bounds.creators),
        (FilterField::Partner, &bounds.partners),
    ];
    fields.into_iter().filter_map(|(field, allowed)| Some((field, allowed.clone()?))).collect()
}
