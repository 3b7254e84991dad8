//! Values that are valid if they exist, and the bytes of a click.

pub mod click;
pub mod code;
pub mod link;
