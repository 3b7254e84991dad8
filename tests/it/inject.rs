//! Injects errors into the running process: strace makes system calls of one thread fail or wait.
//! It needs strace and the right to attach it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{dsl::Site, need::needed_in_ci_as_root};

/// How long it may take to attach.
const ATTACH: Duration = Duration::from_secs(10);

/// An injected fault: system calls of one thread fail or wait until this is dropped.
pub(crate) struct Injected(Child);

impl Injected {
    /// Injects a fault into the system calls of one thread, such as `fdatasync:error=EIO`.
    pub(crate) fn into(site: &Site, thread: &str, calls: &str) -> Option<Injected> {
        needed_in_ci_as_root("an injected error", Injected::attach(&thread_of(site, thread), calls))
    }

    fn attach(thread: &str, calls: &str) -> Result<Injected, String> {
        let id = thread.rsplit('/').next().unwrap();
        let name = calls.split(':').next().unwrap();
        let mut strace = Command::new("strace");
        strace.args([
            "-q",
            "-p",
            id,
            "-e",
            &format!("trace={name}"),
            "-e",
            &format!("inject={calls}"),
            "-o",
            "/dev/null",
        ]);
        let child = strace.stderr(Stdio::null()).spawn().map_err(|why| format!("strace: {why}"))?;
        let mut injected = Injected(child);
        let deadline = Instant::now() + ATTACH;
        while !is_traced(thread) {
            if let Some(status) = injected.0.try_wait().unwrap() {
                return Err(format!("strace may not attach: {status}"));
            }
            assert!(Instant::now() < deadline, "strace neither attached nor ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(injected)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // strace detaches from the thread and ends.
        let _ = rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The directory in `/proc` of the thread of this name.
fn thread_of(site: &Site, name: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", site.pid())).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let thread = tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|found| found.trim() == name));
    thread.expect(name).display().to_string()
}

fn is_traced(thread: &str) -> bool {
    let status = std::fs::read_to_string(format!("{thread}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}
