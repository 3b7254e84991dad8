//! Where a link leads. When a link is loaded, [`policy`] checks its URL and [`builder`] makes a [`UrlTemplate`] of it;
//! at each click [`UrlTemplate::render`] fills the template.
//!
//! A destination is an absolute `http` or `https` URL, or one with an allowed app scheme. It may have placeholders in
//! path segments, in values of the query and in the fragment, never in scheme, host or port: `{click_id}`,
//! `{click_token}`, `{sub1}`…`{sub5}` are filled at each click, `{code}` and `{creator}` when the link is loaded.

pub mod builder;
mod parameter_name;
mod placeholder;
pub mod policy;
mod query;
mod render;
mod template;
#[cfg(test)]
mod tests;
pub mod url_error;
mod written_url;

pub use self::{
    render::{PlaceholderValues, TokenOffset},
    template::{TokenPlace, UrlTemplate},
};
