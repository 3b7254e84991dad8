//! Fetches the jars of Flink and compiles the launcher, by `deploy/flink/build.sh`, once for all tests and test runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{kafka::install::run, need::needed_in_ci};

/// The pipeline's directory.
const PIPELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/flink");

/// The jars and classes.
pub(crate) struct FlinkInstall {
    root: PathBuf,
}

/// The installation, prepared at the first call; `None` if that is impossible and the test may be skipped.
pub(crate) fn flink_install() -> Option<&'static FlinkInstall> {
    static INSTALL: OnceLock<Result<FlinkInstall, String>> = OnceLock::new();
    needed_in_ci("Apache Flink", INSTALL.get_or_init(FlinkInstall::make).as_ref())
}

impl FlinkInstall {
    fn make() -> Result<FlinkInstall, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(base).map_err(|why| format!("{}: {why}", base.display()))?;
        let lock = fs::File::create(base.join("flink.lock")).map_err(|why| format!("lock file: {why}"))?;
        // Test binaries run side by side; the lock goes with the file.
        lock.lock().map_err(|why| format!("lock file: {why}"))?;
        let root = base.join("flink");
        run(Command::new(Path::new(PIPELINE).join("build.sh")).arg(&root))?;
        Ok(FlinkInstall { root })
    }

    /// The command `java` with flags for a small machine, to which a class and its arguments are added.
    pub(crate) fn java(&self) -> Command {
        let log = format!("-Dlog4j2.configurationFile={PIPELINE}/log4j2.properties");
        let path = format!("{}:{}", self.root.join("classes").display(), self.root.join("libs").join("*").display());
        let mut command = Command::new("java");
        command.args(["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", &log, "-cp", &path]);
        command
    }

    /// `flink.sh` with these jars, to which a program and its arguments are added.
    pub(crate) fn script(&self) -> Command {
        let mut command = Command::new(Path::new(PIPELINE).join("flink.sh"));
        command.env("FLINK_HOME_DIR", &self.root).env("FLINK_JAVA", "-XX:TieredStopAtLevel=1");
        command
    }

    /// The launcher with a command (`run` or `explain`) and jobs, to which settings are added.
    pub(crate) fn run_sql(&self, command: &str, jobs: &[&str]) -> Command {
        let mut java = self.java();
        java.args(["waypost.flink.RunSql", PIPELINE, command]).args(jobs);
        java
    }
}
