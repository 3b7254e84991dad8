//! Prometheus' own programs, from Debian's package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

use crate::{kafka::install::output, need::needed};

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
        false => needed("Debian's package prometheus", BASE.get_or_init(fetched).as_ref())?.join("usr/bin").join(name),
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
