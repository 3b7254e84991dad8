//! The output of `waypost shadow`: a line for each request that differs, then the counts.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    access_log::LogEntry,
    cli::shadow::comparison::{Comparison, ShadowResult},
};

/// Counts requests by their result, and prints those that differ.
pub(super) struct ShadowReport {
    is_json: bool,
    /// By [`ShadowResult`].
    counts: [u64; ShadowResult::ALL.len()],
}

/// One request that differs, as JSON.
#[derive(Serialize)]
struct JsonDifference<'a> {
    line: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_destination: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_destination: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
}

impl ShadowReport {
    /// A report without requests.
    pub(super) fn new(is_json: bool) -> ShadowReport {
        ShadowReport { is_json, counts: [0; ShadowResult::ALL.len()] }
    }

    /// Counts the request of a line, and prints it if it differs. A line that cannot be read has no entry.
    pub(super) fn count_and_print_difference(
        &mut self,
        line: u64,
        entry: Option<&LogEntry>,
        comparison: &Comparison,
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.counts[comparison.result as usize] += 1;
        if !comparison.result.is_difference() {
            return Ok(());
        }
        if self.is_json {
            return print_json(line, entry, comparison, out);
        }
        let host = entry.and_then(|entry| entry.host.as_deref()).unwrap_or_default();
        let target = entry.map_or("", |entry| &*entry.target);
        write!(out, "{line:>8}  {:<11}  {host}{target}", comparison.result.as_str())?;
        if let Some(old) = entry.and_then(|entry| entry.location.as_deref()) {
            write!(out, "\n{:>23}old: {old}", "")?;
        }
        if let Some(new) = &comparison.destination {
            write!(out, "\n{:>23}new: {new}", "")?;
        }
        if let Some(code) = comparison.code.as_deref().filter(|code| !code.is_empty()) {
            let by_route = comparison.route.as_deref().map_or(String::new(), |route| format!(" by route {route}"));
            write!(out, "\n{:>23}code: {code}{by_route}", "")?;
        }
        writeln!(out)
    }

    /// Prints how many requests have each result that occurred.
    pub(super) fn print_counts(&self, out: &mut impl Write) -> io::Result<()> {
        let counted = ShadowResult::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0);
        if self.is_json {
            let counts: serde_json::Map<String, serde_json::Value> =
                counted.map(|(result, count)| (result.as_str().to_owned(), count.into())).collect();
            return writeln!(out, "{}", serde_json::json!({ "requests": self.total(), "counts": counts }));
        }
        for (result, count) in counted {
            let difference = if result.is_difference() { "  differs" } else { "" };
            writeln!(out, "{count:>8}  {:<13}{difference}", result.as_str())?;
        }
        writeln!(out, "{:>8}  requests", self.total())
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether a request was listed.
    pub(super) fn has_differences(&self) -> bool {
        ShadowResult::ALL.into_iter().zip(self.counts).any(|(result, count)| count > 0 && result.is_difference())
    }

    /// Whether there are requests, and each has this result.
    pub(super) fn counts_only(&self, result: ShadowResult) -> bool {
        self.total() > 0 && self.counts[result as usize] == self.total()
    }
}

fn print_json(line: u64, entry: Option<&LogEntry>, comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let difference = JsonDifference {
        line,
        result: comparison.result.as_str(),
        host: entry.and_then(|entry| entry.host.as_deref()),
        target: entry.map(|entry| &*entry.target),
        old_destination: entry.and_then(|entry| entry.location.as_deref()),
        new_destination: comparison.destination.as_deref(),
        code: comparison.code.as_deref(),
        route: comparison.route.as_deref(),
    };
    serde_json::to_writer(&mut *out, &difference)?;
    writeln!(out)
}
