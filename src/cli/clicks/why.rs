//! `waypost clicks why`: one click's story, for whoever has to explain it to a creator.
//!
//! 1. **ask**: a click id, or a token that names one;
//! 2. **journal**: whether it lies there, and whether it was delivered when that was looked up. A click that waits there is told at
//!    once: a broker that is away, which is why it waits, takes a while to be known as such;
//! 3. **sink**: where it was delivered to. After the journal, so that a click on its way from one to the other is found;
//! 4. **tell**: in words or as one object.

mod asked;
mod earlier;
mod story;
mod waiting;
mod words;

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use self::{
    asked::Asked,
    story::{Looked, Place, Story},
};
use super::{
    Source,
    source::{At, Range, Record},
};
use crate::{config::Config, model::click::Topic};

/// How far the clock of an edge is thought to run ahead or behind its neighbours' and the broker's, milliseconds.
const CLOCK_ERROR_MS: u64 = 3_600_000;

/// The flags of `waypost clicks why`.
#[derive(Clone, Debug, clap::Args)]
pub struct Why {
    /// The click's id, or a token that names it: a cookie's value, or the one in a destination
    #[arg(value_name = "CLICK_ID|TOKEN", value_parser = Asked::parse)]
    click: Asked,
    /// Search what was written since then (such as 2026-11-21T10:00:00Z) instead of since an hour before the click
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Prints a click's story to `out` and returns whether it was found anywhere. Called by `cli`, which exits 1 if not. What cannot
/// be read is told with the story and ends nothing: the click may lie elsewhere.
///
/// # Errors
/// `out` cannot be written.
pub fn why(config: &Config, flags: &Why, now_ms: u64, out: &mut impl Write) -> Result<bool> {
    let ring = config.attribution.path(&config.server.data_dir);
    let mut story = Story::of(flags.click.id(), flags.click.token(&ring, now_ms));
    let looked = waiting::search(config, &mut story);
    story.looked.push(looked);
    let waits = !flags.json && story.waits();
    if waits {
        words::tell(&story, out)?;
        out.flush()?;
    }
    let since_ms = match flags.since {
        Some(since) => u64::try_from(since.as_millisecond()).unwrap_or_default(),
        None => story.id.ms().saturating_sub(CLOCK_ERROR_MS),
    };
    for source in sources(config) {
        let looked = search(&source, since_ms, &mut story);
        story.looked.push(looked);
        if story.repeated_tap.is_none() && story.place.is_some() {
            story.repeated_tap = earlier::find(&source, &story);
        }
    }
    if flags.json {
        writeln!(out, "{}", words::json(&story))?;
    } else if waits && story.waits() {
        words::unsearched(&story, out)?;
    } else {
        if waits {
            writeln!(out, "delivered since then:")?;
        }
        words::tell(&story, out)?;
    }
    out.flush()?;
    Ok(story.event.is_some())
}

/// Both sinks where both are there: a click is where it was delivered to when it came, whatever is configured since.
fn sources(config: &Config) -> Vec<Source> {
    let dir = config.server.data_dir.join("clicks");
    let mut sources = Vec::new();
    if dir.is_dir() || !config.kafka.enabled() {
        sources.push(Source::Files(dir));
    }
    if config.kafka.enabled() {
        sources.push(Source::Kafka(Box::new(config.kafka.clone())));
    }
    sources
}

/// Reads a sink from `since_ms` to where it ends now. The first record with the id counts, the others are its repeats.
fn search(source: &Source, since_ms: u64, story: &mut Story) -> Looked {
    let mut looked = Looked::sink(name_of(source), since_ms);
    let id = story.id_text();
    let finder = memchr::memmem::Finder::new(id.as_bytes());
    let read = source.read(&Topic::ALL, Range::Since(since_ms), &mut |record| {
        let Some(Record { value, at, .. }) = record else { return Ok(()) };
        looked.records += 1;
        if finder.find(value).is_some()
            && let Ok(event) = serde_json::from_slice::<Value>(value)
            && event["click_id"] == *id
        {
            story.delivered(event, Place::of(at));
        }
        Ok(())
    });
    looked.failed = read.err().map(|why| format!("{why:#}"));
    looked
}

fn name_of(source: &Source) -> String {
    match source {
        Source::Files(dir) => format!("the click files in {}", dir.display()),
        Source::Kafka(config) => {
            let [clicks, orphan] = config.topics();
            format!("the topics {clicks} and {orphan} on {}", config.brokers.as_deref().unwrap_or_default())
        }
    }
}

impl Place {
    fn of(at: At<'_>) -> Place {
        match at {
            At::File { path, line } => Place::File { path: PathBuf::from(path), line },
            At::Kafka { topic, partition, offset } => Place::Kafka { topic: topic.to_owned(), partition, offset },
        }
    }
}
