//! `waypost clicks tail`: prints the latest clicks.

use std::io::Write;

use anyhow::Result;

use super::{
    event::ClickEvent,
    source::{ClickSource, ReadProgress, ReadRange},
    text::{escape_for_terminal_or_dash, format_utc_ms},
};
use crate::model::click::Topic;

/// The flags of `waypost clicks tail`.
#[derive(Clone, Debug, clap::Args)]
pub struct TailArgs {
    /// Number of latest clicks to print
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub lines: u32,
    /// Continue with new clicks until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Print the events unchanged, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Topics to read
    #[arg(long, value_enum, default_value_t)]
    pub topic: TopicFilter,
}

/// The topics to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TopicFilter {
    /// Both topics
    #[default]
    All,
    /// Clicks on live links
    Clicks,
    /// Clicks on unknown, expired, disabled and not yet started codes
    Orphan,
}

impl TopicFilter {
    fn selected_topics(self) -> &'static [Topic] {
        match self {
            TopicFilter::All => &Topic::ALL,
            TopicFilter::Clicks => &[Topic::Clicks],
            TopicFilter::Orphan => &[Topic::Orphan],
        }
    }
}

/// Prints the latest clicks to `out`, oldest first, and with `follow` the new ones after them. Stubs are not printed;
/// they count among the latest records that are read.
///
/// # Errors
/// The source cannot be read (the message says what to do), or `out` cannot be written.
pub fn print_latest_clicks_and_follow_if_asked(
    source: &ClickSource,
    args: &TailArgs,
    out: &mut impl Write,
) -> Result<()> {
    let count = args.lines as usize;
    // Partitions and topics are read one after the other: the latest of all are known once all were read.
    let mut latest: Option<Vec<(u64, Vec<u8>)>> = Some(Vec::new());
    let range = ReadRange::Latest { count, follow: args.follow };
    source.visit_records_and_follow_if_asked(args.topic.selected_topics(), range, &mut |progress| {
        match (progress, &mut latest) {
            (ReadProgress::Record(record), latest) => {
                let event = ClickEvent::parse(record.value);
                if event.as_ref().is_some_and(ClickEvent::is_stub) {
                    return Ok(());
                }
                if let Some(latest) = latest {
                    latest.push((event.map_or(0, |event| event.clicked_at_ms), record.value.to_vec()));
                    return Ok(());
                }
                print_click_as_text_or_json_line(record.value, args.json, out)?;
            }
            (ReadProgress::CaughtUp, latest) => {
                let mut latest = latest.take().unwrap_or_default();
                latest.sort_by_key(|(at_ms, _)| *at_ms);
                for (_, value) in &latest[latest.len().saturating_sub(count)..] {
                    print_click_as_text_or_json_line(value, args.json, out)?;
                }
            }
        }
        Ok(out.flush()?)
    })
}

fn print_click_as_text_or_json_line(value: &[u8], json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        out.write_all(value)?;
        return Ok(writeln!(out)?);
    }
    let Some(click) = ClickEvent::parse(value) else {
        return Ok(writeln!(out, "not a click: {}", String::from_utf8_lossy(value).escape_debug())?);
    };
    let (time, code) = (format_utc_ms(click.clicked_at_ms), escape_for_terminal_or_dash(&click.code));
    write!(out, "{time}  {:<16} {code:<12} {:<9}", click.outcome, click.class)?;
    write!(
        out,
        " {:<10} {:<12}",
        escape_for_terminal_or_dash(&click.source),
        escape_for_terminal_or_dash(&click.creator_id)
    )?;
    let verdict = match click.countable {
        true => "counts".to_owned(),
        false => format!("no: {}", escape_for_terminal_or_dash(&click.countable_reason)),
    };
    writeln!(out, " {verdict:<16} {}", escape_for_terminal_or_dash(&click.destination_host))?;
    Ok(())
}
