//! Which codes take requests of a route's shape before the route is tried.
//!
//! A request is looked up as a code first. If its path holds one run of a code's characters, that run is looked up too
//! (`edge::path_repair`). So a path with one run belongs to the link of that code, and a path with two runs to no link.

use crate::{
    links::routes::path_pattern::{PathPattern, PatternRest, PatternSegment},
    model::code::is_code_byte,
};

/// The codes that take requests of a route's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShadowingCodes {
    /// None.
    Nothing,
    /// This code alone.
    One(Vec<u8>),
    /// Any code.
    All,
}

/// A run of a code's characters in a path.
enum Run {
    Known(Vec<u8>),
    Any,
}

impl ShadowingCodes {
    /// The codes that take requests whose path matches `pattern`.
    pub(super) fn of_path(pattern: &PathPattern) -> ShadowingCodes {
        let mut runs = Vec::new();
        for segment in &pattern.segments {
            match segment {
                PatternSegment::Variable(_) => runs.push(Run::Any),
                PatternSegment::Literal(literal) => {
                    // What stands behind one of these counts as a query.
                    let end = literal.iter().position(|byte| b"&;?".contains(byte));
                    let path = &literal[..end.unwrap_or(literal.len())];
                    let parts = path.split(|byte| !is_code_byte(*byte)).filter(|run| !run.is_empty());
                    runs.extend(parts.map(|run| Run::Known(run.to_vec())));
                    if end.is_some() && !runs.is_empty() {
                        return ShadowingCodes::of_runs(runs);
                    }
                }
            }
        }
        match pattern.rest {
            None => {}
            Some(PatternRest::Pairs(separator)) if !is_code_byte(separator) => runs.extend([Run::Any, Run::Any]),
            Some(PatternRest::Pairs(_) | PatternRest::AnySegments) => runs.push(Run::Any),
        }
        ShadowingCodes::of_runs(runs)
    }

    fn of_runs(mut runs: Vec<Run>) -> ShadowingCodes {
        match (runs.pop(), runs.is_empty()) {
            (Some(Run::Known(code)), true) => ShadowingCodes::One(code),
            (Some(Run::Any), true) => ShadowingCodes::All,
            _ => ShadowingCodes::Nothing,
        }
    }

    /// Whether the link of this code takes such requests.
    pub(super) fn contains(&self, code: &[u8], ignores_case: bool) -> bool {
        match self {
            ShadowingCodes::Nothing => false,
            ShadowingCodes::One(one) if ignores_case => one.eq_ignore_ascii_case(code),
            ShadowingCodes::One(one) => one == code,
            ShadowingCodes::All => true,
        }
    }
}
