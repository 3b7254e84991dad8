//! A wall clock for the process under test that the test sets: ahead, behind, or stepped while the process runs.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{dsl::Site, need::needed_in_ci};

const SHIM: &str = include_str!("clock/shim.c");

/// An hour in milliseconds.
pub(crate) const HOUR: i64 = 3_600_000;

/// A wall clock at an offset from the machine's. Monotonic clocks, and so all deadlines, do not change.
pub(crate) struct Clock {
    library: &'static Path,
    offset: tempfile::NamedTempFile,
}

impl Clock {
    /// A clock this many milliseconds ahead of the machine's, or behind if negative. `None` if there is no C compiler
    /// to build it: the test is skipped.
    pub(crate) fn ahead_by(ms: i64) -> Option<Clock> {
        let clock = Clock { library: library()?, offset: tempfile::NamedTempFile::new().unwrap() };
        clock.set(ms);
        Some(clock)
    }

    /// Steps the clock to this many milliseconds ahead of the machine's, in each process that uses it.
    pub(crate) fn set(&self, ms: i64) {
        let nanos = ms * 1_000_000;
        let bytes = [nanos.to_ne_bytes(), (!nanos).to_ne_bytes()].concat();
        self.offset.as_file().write_all_at(&bytes, 0).unwrap();
    }

    /// Makes a site's process and commands use this clock from their next start on.
    pub(crate) fn on(&self, site: Site) -> Site {
        self.environment().into_iter().fold(site, |site, (key, value)| site.env(key, &value))
    }

    /// The environment variables that make a process use this clock.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("WAYPOST_TEST_CLOCK", self.offset.path().display().to_string()),
        ]
    }
}

/// The library that replaces the clock functions; compiled at the first call.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    needed_in_ci("a clock to set", LIBRARY.get_or_init(compile_library).as_ref()).map(PathBuf::as_path)
}

fn compile_library() -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(base).map_err(|why| format!("{}: {why}", base.display()))?;
    let lock = File::create(base.join("clock.lock")).map_err(|why| format!("lock file: {why}"))?;
    // Test binaries run at the same time. The lock ends when the file is dropped.
    lock.lock().map_err(|why| format!("lock file: {why}"))?;
    let library = base.join(format!("clock-{:08x}.so", crc32c::crc32c(SHIM.as_bytes())));
    if library.exists() {
        return Ok(library);
    }
    let (source, fresh) = (base.join("clock.c"), base.join("clock.so.new"));
    fs::write(&source, SHIM).map_err(|why| why.to_string())?;
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&fresh).arg(&source).arg("-lpthread");
    let done = compiler.output().map_err(|why| format!("gcc: {why}"))?;
    if !done.status.success() {
        return Err(format!("gcc: {}", String::from_utf8_lossy(&done.stderr)));
    }
    fs::rename(fresh, &library).map_err(|why| why.to_string())?;
    Ok(library)
}

#[test]
fn a_process_reads_the_clock_that_it_is_given_and_sees_it_step() {
    let Some(clock) = Clock::ahead_by(25 * HOUR) else { return };
    let mut shell = Command::new("bash");
    shell.args(["-c", "while read -r; do echo $EPOCHSECONDS; done"]).envs(clock.environment());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut asks, mut told) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()).lines());
    for ms in [25 * HOUR, -HOUR, 0] {
        clock.set(ms);
        asks.write_all(b"\n").unwrap();
        let told: i64 = told.next().unwrap().unwrap().parse().unwrap();
        let apart = told - jiff::Timestamp::now().as_second();
        assert!((apart - ms / 1000).abs() <= 2, "{apart} s apart, not {ms} ms");
    }
    drop(asks);
    shell.wait().unwrap();
}
