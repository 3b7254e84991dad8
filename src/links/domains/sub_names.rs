//! `sub_names` of a host: the names by which an old tracker's links give the sub ids.

use crate::{
    links::{domains::param_name::is_param_name, routes::SUB_COUNT},
    model::link_parameter::LinkParameter,
};

/// The names of `sub1`, `sub2` and so on. Empty: the sub ids have their own names.
#[derive(Clone, Debug, Default)]
pub struct SubNames(Box<[Box<str>]>);

impl SubNames {
    /// Checks the names of a host whose token has the parameter `token_param`.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse(names: &[String], token_param: &str) -> Result<SubNames, String> {
        if names.len() > SUB_COUNT {
            return Err(format!("has {} names; a click has at most {SUB_COUNT} sub ids", names.len()));
        }
        for (at, name) in names.iter().enumerate() {
            if !is_param_name(name) {
                return Err(format!("has {name:?}; allowed are 1 to 32 letters, digits, '-', '.' and '_'"));
            }
            if name.eq_ignore_ascii_case(token_param)
                || LinkParameter::find_by_name(name.as_bytes()) == Some(LinkParameter::Consent)
            {
                return Err(format!("has {name:?}, which has its own meaning in a link"));
            }
            if names[..at].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
                return Err(format!("has {name:?} twice"));
            }
        }
        Ok(SubNames(names.iter().map(|name| name.as_str().into()).collect()))
    }

    /// Whether the sub ids have their own names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of `sub1`, then that of `sub2`, and so on.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}
