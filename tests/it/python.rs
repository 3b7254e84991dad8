//! A Python with packages of PyPI, for programs that read what Waypost writes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Python with these packages in an environment of its own; made at the first call, and kept for the next run.
pub(crate) fn python_with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let wanted = crc32c::crc32c(packages.join(" ").as_bytes());
    let environment = base.join(format!("python-{name}-{wanted:08x}"));
    fs::create_dir_all(base).map_err(|why| format!("{}: {why}", base.display()))?;
    let lock = fs::File::create(base.join("python.lock")).map_err(|why| format!("lock file: {why}"))?;
    // Test binaries run at the same time. The lock ends when the file is dropped.
    lock.lock().map_err(|why| format!("lock file: {why}"))?;
    if !environment.join("complete").exists() {
        let run = |command: &mut Command| match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(why) => Err(why.to_string()),
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(environment.join("bin/pip")).args(["install", "-q"]).args(packages))?;
        fs::write(environment.join("complete"), "").map_err(|why| why.to_string())?;
    }
    Ok(environment.join("bin/python"))
}

/// Runs a program that must succeed, and gives its output.
pub(crate) fn run_python(command: &mut Command) -> String {
    // No compiled files beside the sources.
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
