//! Prometheus' own programs, from Debian's package, and a running Prometheus.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use crate::{
    dsl::{Connection, request, until},
    kafka::{broker::free_ports, install::output},
    need::needed_in_ci,
};

/// A program of the package, found or fetched at the first call; `None` where it cannot be had and need not be.
pub(crate) fn program(name: &'static str) -> Option<&'static Path> {
    static FOUND: Mutex<Vec<(&str, &Path)>> = Mutex::new(Vec::new());
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let mut found = FOUND.lock().unwrap();
    if let Some((_, path)) = found.iter().find(|(known, _)| *known == name) {
        return Some(path);
    }
    let installed = Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
    let path = match installed {
        true => PathBuf::from(name),
        false => {
            needed_in_ci("Debian's package prometheus", BASE.get_or_init(fetched).as_ref())?.join("usr/bin").join(name)
        }
    };
    let path: &'static Path = Box::leak(path.into_boxed_path());
    found.push((name, path));
    Some(path)
}

/// Unpacked beside the build, not installed: the package would start its server.
fn fetched() -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool");
    fs::create_dir_all(&base).map_err(|why| format!("{}: {why}", base.display()))?;
    // Test runs go side by side; the lock goes with the file.
    let lock = fs::File::create(base.join("lock")).map_err(|why| format!("lock file: {why}"))?;
    lock.lock().map_err(|why| format!("lock file: {why}"))?;
    if !base.join("usr/bin/promtool").exists() {
        let download = || output(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(&base));
        if download().is_err() {
            output(Command::new("apt-get").args(["-qq", "update"]))?;
            download()?;
        }
        let files = fs::read_dir(&base).map_err(|why| why.to_string())?.map_while(Result::ok);
        let package = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|kind| kind == "deb"));
        let package = package.ok_or("apt-get downloaded no package")?;
        output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&base))?;
    }
    Ok(base)
}

/// A running Prometheus; ends with the test.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// Starts one with this configuration, its files in `dir`; `None` where it cannot be had and need not be.
    pub(crate) fn start(dir: &Path, config: &str) -> Option<Prometheus> {
        let [port] = free_ports();
        let file = dir.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program("prometheus")?);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.join("prometheus.log")).unwrap());
        Some(Prometheus { child: command.spawn().unwrap(), port })
    }

    /// Waits until `/api/v1/` and this page say this.
    pub(crate) fn wait_for_text(&self, page: &str, text: &str) {
        let address = ([127, 0, 0, 1], self.port).into();
        until(&format!("{text} in {page}"), || {
            TcpStream::connect(address).ok()?;
            let mut wire = Connection::to(address);
            wire.write(&request("GET", &format!("/api/v1/{page}"), &["Connection: close"]));
            String::from_utf8_lossy(&wire.read_until_closed()).contains(text).then_some(())
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
