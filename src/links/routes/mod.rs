//! Routes: old URLs of other trackers become codes and sub ids of this server.
//!
//! `[[routes]]` of the configuration describes the shape of such a URL: its path, and where the parts of the code and
//! the sub ids stand. A route is tried only for a request whose code no link has. A route never reads a destination
//! from the request: the link alone says where it leads.
//!
//! [`Route::try_match`] is pure: it gives the code and the sub ids, or the reason why the request has not this shape.

mod code_template;
mod config;
mod mismatch;
mod path_pattern;
mod request_values;
mod route;
mod settings;
mod shadowing;
mod sub_ids;
mod value_source;

pub use config::Config;
pub use mismatch::RouteMismatch;
pub use route::{Route, RouteMatch, Routes};
pub use settings::RouteSettings;
pub use sub_ids::SUB_COUNT;

#[cfg(test)]
mod tests;
