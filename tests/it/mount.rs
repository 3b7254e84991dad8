//! File systems for tests that need one of their own: small, frozen, read-only or broken. The user must have the right
//! to mount ([`needed`]).

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal};

use crate::{dsl::until, need::needed_in_ci_as_root};

/// A file system over a directory; thawed, unmounted and its loop device given back at the end, however the test ends.
pub(crate) struct Mount {
    at: PathBuf,
    device: Option<String>,
}

/// Runs a tool of the system. Returns its output, or its error in one line.
fn run_tool(name: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(name).args(args).output().map_err(|why| format!("{name}: {why}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{name}: {}", text(&output.stderr))),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Mount {
    /// A tmpfs of this size over a directory, which is made.
    pub(crate) fn tmpfs(dir: &Path, size: &str) -> Option<Mount> {
        std::fs::create_dir_all(dir).unwrap();
        let mounted = run_tool("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &text(dir)]);
        needed_in_ci_as_root("a tmpfs", mounted.map(|_| Mount { at: dir.to_owned(), device: None }))
    }

    /// An ext4 of so many MiB over a directory, which is made; in a file beside it, by a loop device.
    pub(crate) fn ext4(dir: &Path, mib: u64) -> Option<Mount> {
        needed_in_ci_as_root("an ext4 on a loop device", Mount::try_ext4(dir, &dir.with_extension("img"), mib))
    }

    /// An XFS whose files can share blocks, otherwise as [`Mount::ext4`]. At least 300 MiB.
    pub(crate) fn xfs(dir: &Path, mib: u64) -> Option<Mount> {
        let tool: &[&str] = &["mkfs.xfs", "-q", "-m", "reflink=1"];
        let mounted = Mount::try_on_loop_device(dir, &dir.with_extension("img"), mib, tool);
        needed_in_ci_as_root("an XFS on a loop device", mounted)
    }

    fn try_ext4(dir: &Path, image: &Path, mib: u64) -> Result<Mount, String> {
        Mount::try_on_loop_device(dir, image, mib, &["mkfs.ext4", "-q", "-m", "0"])
    }

    fn try_on_loop_device(dir: &Path, image: &Path, mib: u64, mkfs: &[&str]) -> Result<Mount, String> {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::File::create(image).unwrap().set_len(mib << 20).unwrap();
        run_tool(mkfs[0], &[&mkfs[1..], &[&text(image)]].concat())?;
        let device = run_tool("losetup", &["--find", "--show", &text(image)])?;
        // From here on dropping it gives the device back.
        let mount = Mount { at: dir.to_owned(), device: Some(device.clone()) };
        run_tool("mount", &[&device, &text(dir)])?;
        Ok(mount)
    }

    /// Fills the file system to the last byte. Returns the file that takes the space.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.at.join("filler");
        let mut left = std::fs::File::create(&filler).unwrap();
        // Ever smaller pieces, because the last one is written in part or not at all.
        for piece in [1 << 20, 4096, 1] {
            while std::io::Write::write_all(&mut left, &vec![b'x'; piece]).is_ok() {}
        }
        let _ = left.sync_all();
        filler
    }

    /// Freezes the file system until the result is dropped: every write and sync waits.
    pub(crate) fn freeze(&self) -> Option<Frozen<'_>> {
        // Thaws even if this process is killed meanwhile.
        let late = format!("sleep 60; exec fsfreeze --unfreeze '{}'", text(&self.at));
        let mut rescue = Command::new("sh");
        let rescue = rescue.args(["-c", &late]).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let frozen = Frozen { mount: self, rescue };
        needed_in_ci_as_root(
            "a frozen file system",
            run_tool("fsfreeze", &["--freeze", &text(&self.at)]).map(|_| frozen),
        )
    }

    /// Makes ext4 read-only, as after an error of its device.
    pub(crate) fn abort(&self) {
        // Some kernels say that the remount itself failed for it.
        let _ = run_tool("mount", &["-o", "remount,abort", &text(&self.at)]);
        let trial = std::fs::write(self.at.join("trial"), "");
        assert!(trial.is_err(), "it is not read-only");
    }

    /// Unmounts, checks and mounts the file system again, once no process uses it.
    pub(crate) fn mount_again(&self) {
        let (device, dir) = (self.device.clone().unwrap(), text(&self.at));
        until("the unmount", || run_tool("umount", &[&dir]).ok());
        // It exits with 1 where it had something to mend.
        let _ = run_tool("fsck.ext4", &["-p", &device]);
        run_tool("mount", &[&device, &dir]).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the process under test may still hold it.
        let _ = run_tool("umount", &["-l", &text(&self.at)]);
        if let Some(device) = &self.device {
            let _ = run_tool("losetup", &["--detach", device]);
        }
    }
}

/// A frozen file system. Dropped before the process that writes there is stopped, because the stop waits too.
pub(crate) struct Frozen<'a> {
    mount: &'a Mount,
    rescue: Child,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = run_tool("fsfreeze", &["--unfreeze", &text(&self.mount.at)]);
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.rescue), Signal::KILL);
        let _ = self.rescue.wait();
    }
}
