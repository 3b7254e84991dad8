//! The log: text on a terminal, JSON lines elsewhere. No request writes a log line.
//!
//! A thread of its own writes the lines to the standard error stream. They wait for it in a bounded queue, so that a
//! reader that stalls delays no other thread: a line that finds the queue full is dropped and counted.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{IsTerminal, Write, stderr},
    panic::PanicHookInfo,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use metrics::Counter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    config::{ConfigError, ConfigErrors, LogFormat, ServerConfig, ValueSource, validate_and_complete_log_directives},
    faults::{self, log_fault},
    metrics::{LOG_LINES_DROPPED, counter},
};

/// Lines that wait for the standard error stream, a few MiB at most.
const MAX_QUEUED_LINES: usize = 8192;

/// The variable that wins over `server.log_level`.
const LOG_VARIABLE: &str = "RUST_LOG";

/// For how long the end of a process waits for the reader of its last lines.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// The log of this process. Its drop writes the queued lines, as [`Log::flush_within_deadline_and_end`] does.
pub(super) struct Log {
    /// The format that `auto` stands for.
    pub(super) format: LogFormat,
    dropped: Arc<DroppedLines>,
    thread: Mutex<Option<WorkerGuard>>,
}

/// The directives of the log: those of `RUST_LOG`, unless it is empty or unset, else those of `server.log_level`.
///
/// # Errors
/// The error of `RUST_LOG`. The configuration reports those of its own key.
pub(super) fn find_log_directives(config: &ServerConfig) -> Result<String, ConfigError> {
    let variable = std::env::var_os(LOG_VARIABLE).unwrap_or_default();
    let text = if variable.is_empty() { Some(&*config.log_level) } else { variable.to_str() };
    let directives = text.map(validate_and_complete_log_directives);
    directives.unwrap_or_else(|| Err("is not UTF-8; allowed is a level such as info".to_owned())).map_err(|message| {
        ConfigError { source: ValueSource::Environment(LOG_VARIABLE.to_owned()), key: String::new(), message }
    })
}

/// Starts logging to the standard error stream. A panic becomes a line of the log.
///
/// # Errors
/// The error of `RUST_LOG`.
pub(super) fn start_log(config: &ServerConfig) -> Result<Arc<Log>, ConfigErrors> {
    let directives = find_log_directives(config).map_err(|error| ConfigErrors(vec![error]))?;
    let filter = EnvFilter::new(directives);
    let terminal = stderr().is_terminal();
    let format = match config.log {
        LogFormat::Auto if terminal => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    };
    let (queue, thread) = LineQueue::start_thread(stderr(), MAX_QUEUED_LINES);
    let log = Arc::new(Log { format, dropped: queue.dropped.clone(), thread: Mutex::new(Some(thread)) });
    // A line that cannot be written is lost. An error message on the same stream would end the process.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(queue).log_internal_errors(false);
    // Only a second call fails; the settings of the first call then stay.
    let _ = if format == LogFormat::Json {
        builder.json().flatten_event(true).try_init()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).with_target(false).try_init()
    };
    let log_of_panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        if cfg!(panic = "abort") {
            log_of_panics.flush_within_deadline_and_end();
        }
    }));
    Ok(log)
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("a value that is no text");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(event = "panic", thread, location, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(event = "panic", thread, location, "panicked: {message}");
    }
}

impl Log {
    /// Exports the number of dropped lines as a metric from now on. To be called once the recorder is installed.
    pub(super) fn export_dropped_lines_metric(&self) {
        let _ = self.dropped.metric.set(counter(&LOG_LINES_DROPPED, &[]));
        self.dropped.update_metric();
    }

    /// Waits until the queued lines are written, for one second at most, and ends the log's thread. Later lines are
    /// lost. Does nothing the second time.
    pub(super) fn flush_within_deadline_and_end(&self) {
        self.dropped.log_dropped_since_last_call();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The guard's drop waits for the lines. It tells the standard output if it waits in vain, and may hang there.
        run_within_flush_deadline(move || drop(thread));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush_within_deadline_and_end();
    }
}

/// Runs `write`, which may hang in the standard error stream, on a thread of its own. `None` if it does not end within
/// a second.
pub(super) fn run_within_flush_deadline<T: Send + 'static>(write: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let run_and_send_result = move || {
        let _ = sender.send(write());
    };
    std::thread::Builder::new().name("wp-log-flush".to_owned()).spawn(run_and_send_result).ok()?;
    receiver.recv_timeout(FLUSH_DEADLINE).ok()
}

/// The bounded queue of lines in front of the log's thread.
#[derive(Clone)]
struct LineQueue {
    queue: NonBlocking,
    dropped: Arc<DroppedLines>,
}

impl LineQueue {
    /// Starts the thread that writes the queued lines to `output`.
    fn start_thread(output: impl Write + Send + 'static, max_lines: usize) -> (LineQueue, WorkerGuard) {
        let dropped = Arc::new(DroppedLines::default());
        let output = LineOutput { output, dropped: dropped.clone() };
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(max_lines).thread_name("wp-log");
        let (queue, thread) = builder.finish(output);
        let _ = dropped.count.set(queue.error_counter());
        (LineQueue { queue, dropped }, thread)
    }
}

impl Write for LineQueue {
    /// Queues a line or drops it; never waits.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let written = self.queue.write(line)?;
        self.dropped.update_metric();
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = LineQueue;

    fn make_writer(&'a self) -> LineQueue {
        self.clone()
    }
}

/// How many lines were dropped, and who was told.
#[derive(Default)]
struct DroppedLines {
    /// Set when the queue exists.
    count: OnceLock<ErrorCounter>,
    /// Set when the recorder of metrics exists.
    metric: OnceLock<Counter>,
    /// The number of lines that a line of the log told.
    logged: AtomicUsize,
}

impl DroppedLines {
    fn count(&self) -> usize {
        self.count.get().map_or(0, ErrorCounter::dropped_lines)
    }

    fn update_metric(&self) {
        if let Some(metric) = self.metric.get() {
            metric.absolute(self.count() as u64);
        }
    }

    fn log_dropped_since_last_call(&self) {
        let count = self.count();
        let lines = count - self.logged.swap(count, Ordering::Relaxed).min(count);
        if lines > 0 {
            log_fault!(
                warn,
                faults::LOG_LINES_DROPPED,
                lines,
                "the log was not read fast enough: lines were dropped; the metrics counted on"
            );
        }
    }
}

/// Where the log's thread writes.
struct LineOutput<W> {
    output: W,
    dropped: Arc<DroppedLines>,
}

impl<W: Write> Write for LineOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    /// Called each time the queue is empty.
    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.output.flush();
        self.dropped.log_dropped_since_last_call();
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that takes a line once the test has received the one before.
    struct LineByLine(mpsc::SyncSender<String>);

    impl Write for LineByLine {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_delays_nobody_and_is_told_how_many_lines_were_dropped() {
        let (sender, lines) = mpsc::sync_channel(0);
        let (queue, thread) = LineQueue::start_thread(LineByLine(sender), 4);
        let dropped = queue.dropped.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(queue).finish();
        // Also the log's thread must find this subscriber; no other test of this crate reads it.
        tracing::subscriber::set_global_default(subscriber).unwrap();
        for number in 0..100 {
            tracing::info!(number, "a line");
        }
        let count = dropped.count();
        assert!((95..=96).contains(&count), "4 lines in the queue, at most 1 being written; dropped {count}");
        let written: Vec<String> = (0..100 - count).map(|_| lines.recv().unwrap()).collect();
        assert!(!written.iter().any(|line| line.contains("log_lines_dropped")), "{written:?}");
        let told = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        let expected = [format!("\"lines\":{count}"), "\"event\":\"log_lines_dropped\"".to_owned()];
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        drop(lines);
        drop(thread);
    }

    #[test]
    fn the_end_of_the_log_does_not_wait_for_a_stalled_reader() {
        let (sender, _lines) = mpsc::sync_channel(0);
        let (mut queue, thread) = LineQueue::start_thread(LineByLine(sender), 4);
        for _ in 0..10 {
            queue.write_all(b"a line\n").unwrap();
        }
        let log = Log { format: LogFormat::Json, dropped: queue.dropped.clone(), thread: Mutex::new(Some(thread)) };
        let start = std::time::Instant::now();
        drop(log);
        assert!(start.elapsed() < FLUSH_DEADLINE * 3, "{:?}", start.elapsed());
    }
}
