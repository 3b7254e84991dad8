//! File systems for the tests that need one of their own: small, frozen, read-only or broken. They want a user who may mount
//! ([`needed`]).

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal};

use crate::{dsl::until, need::lent};

/// A file system over a directory; thawed, unmounted and its loop device given back at the end, however the test ends.
pub(crate) struct Mount {
    at: PathBuf,
    device: Option<String>,
}

/// Runs a tool of the system; what it printed, or in one line why not.
fn tool(name: &str, args: &[&str]) -> Result<String, String> {
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
        let mounted = tool("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &text(dir)]);
        lent("a tmpfs", mounted.map(|_| Mount { at: dir.to_owned(), device: None }))
    }

    /// An ext4 of so many MiB over a directory, which is made; in a file beside it, by a loop device.
    pub(crate) fn ext4(dir: &Path, mib: u64) -> Option<Mount> {
        lent("an ext4 on a loop device", Mount::try_ext4(dir, &dir.with_extension("img"), mib))
    }

    fn try_ext4(dir: &Path, image: &Path, mib: u64) -> Result<Mount, String> {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::File::create(image).unwrap().set_len(mib << 20).unwrap();
        tool("mkfs.ext4", &["-q", "-m", "0", &text(image)])?;
        let device = tool("losetup", &["--find", "--show", &text(image)])?;
        // From here on dropping it gives the device back.
        let mount = Mount { at: dir.to_owned(), device: Some(device.clone()) };
        tool("mount", &[&device, &text(dir)])?;
        Ok(mount)
    }

    /// Takes what room is left, so that another writer's next byte finds none. Gives the file that takes it.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.at.join("filler");
        let mut left = std::fs::File::create(&filler).unwrap();
        // Ever smaller pieces, for the last one that fits is taken only in part or not at all.
        for piece in [1 << 20, 4096, 1] {
            while std::io::Write::write_all(&mut left, &vec![b'x'; piece]).is_ok() {}
        }
        let _ = left.sync_all();
        filler
    }

    /// Lets nobody write, until what is returned is dropped: every write and sync waits.
    pub(crate) fn freeze(&self) -> Option<Frozen<'_>> {
        // Thaws even if this process is killed meanwhile.
        let late = format!("sleep 60; exec fsfreeze --unfreeze '{}'", text(&self.at));
        let mut rescue = Command::new("sh");
        let rescue = rescue.args(["-c", &late]).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let frozen = Frozen { mount: self, rescue };
        lent("a frozen file system", tool("fsfreeze", &["--freeze", &text(&self.at)]).map(|_| frozen))
    }

    /// Has ext4 give up as after an error of its device: nothing can be written from now on.
    pub(crate) fn abort(&self) {
        // Some kernels say that the remount itself failed for it.
        let _ = tool("mount", &["-o", "remount,abort", &text(&self.at)]);
        let trial = std::fs::write(self.at.join("trial"), "");
        assert!(trial.is_err(), "it is not read-only");
    }

    /// Unmounted, checked and mounted again, once nobody holds it.
    pub(crate) fn mount_again(&self) {
        let (device, dir) = (self.device.clone().unwrap(), text(&self.at));
        until("the unmount", || tool("umount", &[&dir]).ok());
        // It exits with 1 where it had something to mend.
        let _ = tool("fsck.ext4", &["-p", &device]);
        tool("mount", &[&device, &dir]).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the process under test may still hold it.
        let _ = tool("umount", &["-l", &text(&self.at)]);
        if let Some(device) = &self.device {
            let _ = tool("losetup", &["--detach", device]);
        }
    }
}

/// A frozen file system. To be dropped before the process is ended that writes there, for that waits too.
pub(crate) struct Frozen<'a> {
    mount: &'a Mount,
    rescue: Child,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = tool("fsfreeze", &["--unfreeze", &text(&self.mount.at)]);
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.rescue), Signal::KILL);
        let _ = self.rescue.wait();
    }
}
