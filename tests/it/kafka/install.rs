//! Fetches the jars and prepares what every broker needs, once for all tests and test runs, beside the build's target
//! directory.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::need::needed_in_ci;

const POM: &str = include_str!("pom.xml");
const HARNESS: &str = include_str!("Harness.java");
const LOG4J: &str = "\
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
";

/// The SASL user.
pub(crate) const USER: &str = "waypost";
/// The SASL user's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The password of the broker's key store.
pub(crate) const STORE_PASSWORD: &str = "changeit";

/// The prepared jars, classes, certificates and formatted data directories.
pub(crate) struct Install {
    root: PathBuf,
}

/// The installation, prepared at the first call; `None` if that is impossible and the test may be skipped.
pub(crate) fn install() -> Option<&'static Install> {
    static INSTALL: OnceLock<Result<Install, String>> = OnceLock::new();
    needed_in_ci("a Kafka", INSTALL.get_or_init(Install::make).as_ref())
}

impl Install {
    fn make() -> Result<Install, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Another version of these files prepares another directory.
        let version = crc32c::crc32c([POM, HARNESS, LOG4J, include_str!("install.rs")].concat().as_bytes());
        let install = Install { root: base.join(format!("kafka-{version:08x}")) };
        fs::create_dir_all(base).map_err(|why| format!("{}: {why}", base.display()))?;
        let lock = fs::File::create(base.join("kafka.lock")).map_err(|why| format!("lock file: {why}"))?;
        // Test binaries run side by side; the lock goes with the file.
        lock.lock().map_err(|why| format!("lock file: {why}"))?;
        let done = install.root.join("done");
        if !done.exists() {
            let _ = fs::remove_dir_all(&install.root);
            install.prepare()?;
            fs::write(done, "").map_err(|why| why.to_string())?;
        }
        Ok(install)
    }

    fn prepare(&self) -> Result<(), String> {
        let write =
            |name: &str, text: &str| fs::write(self.root.join(name), text).map_err(|why| format!("{name}: {why}"));
        fs::create_dir_all(self.root.join("classes")).map_err(|why| why.to_string())?;
        write("pom.xml", POM)?;
        write("Harness.java", HARNESS)?;
        write("log4j2.properties", LOG4J)?;
        let libs = format!("-DoutputDirectory={}", self.root.join("libs").display());
        run(Command::new("mvn").current_dir(&self.root).args(["-B", "-q", "dependency:copy-dependencies", &libs]))?;
        run(Command::new("javac").current_dir(&self.root).args(["-cp", "libs/*", "-d", "classes", "Harness.java"]))?;
        let store =
            ["-keystore", "broker.p12", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-alias", "broker"];
        run(Command::new("keytool").current_dir(&self.root).arg("-genkeypair").args(store).args([
            "-keyalg",
            "EC",
            "-dname",
            "CN=localhost",
            "-validity",
            "3650",
            "-ext",
            "san=ip:127.0.0.1,dns:localhost",
        ]))?;
        run(Command::new("keytool").current_dir(&self.root).arg("-exportcert").args(store).args([
            "-rfc",
            "-file",
            "broker.pem",
        ]))?;
        self.format("plain", &[])?;
        self.format("sasl", &["SCRAM-SHA-256", "SCRAM-SHA-512"])
    }

    /// The broker's certificate, as librdkafka wants it.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.root.join("broker.pem")
    }

    /// The broker's key store.
    pub(crate) fn key_store(&self) -> PathBuf {
        self.root.join("broker.p12")
    }

    /// The command `java` with flags for a small machine, to which a class and its arguments are added.
    pub(crate) fn java(&self) -> Command {
        let mut command = Command::new("java");
        let log = format!("-Dlog4j2.configurationFile={}", self.root.join("log4j2.properties").display());
        let path = format!("{}:{}", self.root.join("classes").display(), self.root.join("libs").join("*").display());
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", &log, "-cp", &path]);
        command
    }

    /// Formats a data directory for node 1 as the template of its kind.
    fn format(&self, kind: &str, users: &[&str]) -> Result<(), String> {
        let properties = self.root.join(format!("format-{kind}.properties"));
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n\
             listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\n",
            self.root.join(format!("formatted-{kind}")).display()
        );
        fs::write(&properties, text).map_err(|why| why.to_string())?;
        let mut format = self.java();
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", "test-cluster", "-c"]).arg(&properties);
        for mechanism in users {
            format.args(["--add-scram", &format!("{mechanism}=[name=\"{USER}\",password=\"{PASSWORD}\"]")]);
        }
        run(&mut format)
    }

    /// Copies a formatted data directory, which saves each broker a run of the storage tool.
    pub(crate) fn formatted(&self, kind: &str, to: &Path) -> std::io::Result<()> {
        copy(&self.root.join(format!("formatted-{kind}")), to)
    }
}

/// Runs a command to its end. The error contains the output.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}

/// Runs a command to its end and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().map_err(|why| format!("{name}: {why}"))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = [done.stdout, done.stderr].concat();
    Err(format!("{name}: {}: {}", done.status, String::from_utf8_lossy(&said)))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
