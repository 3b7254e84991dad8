//! The edge: turns a request into an answer and the bytes of its click.
//!
//! The life of a click:
//!
//! 1. [`target`] reads the request line and the host: which code in which domain. Rejected requests and fixed paths end
//!    here. If no link has the code, `second_lookup` looks for one that something was glued to (`path_repair`), then
//!    for the code of another tracker's URL (`links::routes`). `/CODE+` ends with `info_page`.
//! 2. `code_request` resolves everything about the request once: link, client facts, consent, cookie, client address.
//! 3. `decision` chooses the outcome by the link's state and these facts, and what the answer may carry.
//! 4. `minted_click` makes the click's ids, its URL token and its destination; of a link with targets `target_choice`
//!    chooses one, by what `fact_finder` finds, and `client_place` of the country; `landing` says whether a page leads
//!    there. `code_answer` makes the answer.
//! 5. `click_record` encodes the click.
//! 6. [`handler`] appends the bytes to the worker's lane, then sends the answer.
//!
//! Steps 1 to 5 wait for nothing, read no clock and cannot fail: times, random bytes and the lane's fill level come in
//! with [`context`], and each failure is an outcome. So [`explain`] shows them for any request and time.

pub mod acme;
mod agent_memo;
pub mod answer;
mod click_record;
mod client_kind;
mod client_place;
mod code_answer;
mod code_request;
pub mod context;
mod cors;
mod counters;
mod decision;
mod destination;
mod dispatch;
mod domain_responses;
pub mod explain;
mod fact_finder;
mod foreign_query;
pub mod handler;
mod hsts;
pub mod https_redirect;
mod id_clock;
mod info_page;
mod landing;
mod minted_click;
pub mod next_hop;
mod pages;
mod path_repair;
mod preview_fetchers;
mod recorded_texts;
mod response;
pub mod scratch;
mod second_lookup;
pub mod snapshot;
pub mod target;
mod target_choice;
