//! Progress bars on the standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for so many links.
pub(super) fn bar_of_links(verb: &'static str, links: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} links {eta}");
    let bar = ProgressBar::with_draw_target(Some(links), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or(ProgressStyle::default_bar())).with_message(verb)
}

/// A sign that something goes on whose length nobody knows, with the number of links so far.
pub(super) fn count_of_links(verb: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {human_pos} links {elapsed}");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or(ProgressStyle::default_spinner())).with_message(verb)
}

/// A sign that the place works.
pub(super) fn spinner(verb: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = bar.with_style(style.unwrap_or(ProgressStyle::default_spinner())).with_message(verb);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
