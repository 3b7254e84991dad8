//! Who runs the command.

use crate::catalog::{act::Act, new_act};

/// An act of the person who runs the command.
pub(super) fn act_of_user(reason: Option<&String>) -> Act {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    new_act(format!("command line, {}", user.as_deref().unwrap_or("unknown user")), reason.cloned())
}
