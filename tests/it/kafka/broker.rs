//! One node of Apache Kafka on free loopback ports: started, killed, restarted with its data, stopped.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use waypost::kafka::Config;

use super::{
    install::{Install, PASSWORD, STORE_PASSWORD, USER, install, run},
    proxy::Proxy,
    site::{lanes_topic, orphan_topic},
};

/// How long a broker may take to boot on a busy machine.
const BOOT: Duration = Duration::from_secs(90);
/// Attempts to start: another process can take a free port first.
const ATTEMPTS: usize = 5;

/// How a broker treats its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every client has every permission.
    #[default]
    Plain,
    /// SASL_SSL with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 for [`USER`]; every authenticated client has every
    /// permission.
    SaslSsl,
    /// As [`Kind::SaslSsl`], and [`USER`] may do nothing before [`Broker::grant_write`].
    Acls,
}

/// A running (or stopped) broker; killed when dropped.
pub(crate) struct Broker {
    install: &'static Install,
    kind: Kind,
    dir: tempfile::TempDir,
    ports: [u16; 3],
    /// The port at which clients of [`Kind::Plain`] may find it besides its own: a proxy's.
    proxied: Option<u16>,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker and waits until it answers; `None` where there is no Kafka to test with, and the test is to be
    /// skipped.
    pub(crate) fn start(kind: Kind) -> Option<Broker> {
        Broker::started(kind, None)
    }

    /// A broker of kind [`Kind::Plain`]; clients that connect through the proxy reach it through the proxy only.
    pub(crate) fn start_behind(proxy: &Proxy) -> Option<Broker> {
        let broker = Broker::started(Kind::Plain, Some(proxy.port()))?;
        proxy.forward_to(broker.ports[1]);
        Some(broker)
    }

    fn started(kind: Kind, proxied: Option<u16>) -> Option<Broker> {
        let install = install()?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let dir = tempfile::tempdir().unwrap();
            let name = if kind == Kind::Plain { "plain" } else { "sasl" };
            install.formatted(name, &dir.path().join("data")).unwrap();
            let mut broker = Broker { install, kind, dir, ports: free_ports(), proxied, child: None };
            match broker.boot() {
                Ok(()) => return Some(broker),
                Err(why) if why.contains("Address already in use") => last = why,
                Err(why) => panic!("the broker died: {why}"),
            }
        }
        panic!("no free ports for a broker: {last}");
    }

    /// A broker of kind [`Kind::Plain`] that tests share as long as one of them holds it; each has topics of its own
    /// there.
    pub(crate) fn start_or_share() -> Option<Arc<Broker>> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        // A test that failed while starting it leaves nothing half done.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = shared.upgrade() {
            return Some(broker);
        }
        let broker = Arc::new(Broker::start(Kind::Plain)?);
        broker.create_topic("clicks.lanes", 1, &[]);
        *shared = Arc::downgrade(&broker);
        Some(broker)
    }

    /// The address for `--kafka`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The address at which every client has every permission, whatever the kind.
    pub(crate) fn unrestricted_address(&self) -> String {
        format!("127.0.0.1:{}", if self.kind == Kind::Plain { self.ports[0] } else { self.ports[1] })
    }

    /// The section `[kafka]` for this broker, with a SASL mechanism where it wants one.
    pub(crate) fn config(&self, mechanism: &str) -> Config {
        Config {
            brokers: Some(self.address()),
            properties: self.properties(mechanism).into_iter().collect(),
            ..Config::default()
        }
    }

    /// The table `[kafka.properties]` for this broker.
    pub(crate) fn properties(&self, mechanism: &str) -> Vec<(String, String)> {
        if self.kind == Kind::Plain {
            return Vec::new();
        }
        let certificate = self.install.certificate().display().to_string();
        [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
            ("ssl.ca.location", &certificate),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(&mut child);
        }
    }

    /// A clean stop.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            stop(&mut child);
        }
    }

    /// Simulates a power loss on the only replica of a partition: kills the broker and cuts the newest bytes off its
    /// log.
    pub(crate) fn kill_and_truncate_log(&mut self, topic: &str, partition: i32, bytes: u64) {
        self.kill();
        let log = self.dir.path().join(format!("data/{topic}-{partition}/00000000000000000000.log"));
        let log = fs::File::options().write(true).open(log).unwrap();
        let len = log.metadata().unwrap().len();
        assert!(len > 2 * bytes, "something is left: {len}");
        log.set_len(len - bytes).unwrap();
    }

    /// Starts it again on its ports and its data.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "the broker still runs");
        self.boot().unwrap_or_else(|why| panic!("the broker did not come back: {why}"));
    }

    /// Creates a topic with one replica.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        create_topic_at(&self.unrestricted_address(), topic, partitions, 1, settings);
    }

    /// Makes a topic of clicks with so many partitions, that of its orphans and that of its lanes.
    pub(crate) fn create_click_topics(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        for (topic, partitions) in [(topic, partitions), (&*orphan_topic(topic), 1), (&*lanes_topic(topic), 1)] {
            self.create_topic(topic, partitions, settings);
        }
    }

    /// Grants [`USER`] the right to describe and write a topic.
    pub(crate) fn grant_write(&self, topic: &str) {
        run(self.install.java().args(["Harness", "allow", &self.unrestricted_address(), USER, topic])).unwrap();
    }

    /// Takes away what [`Broker::grant_write`] gave.
    pub(crate) fn revoke_write(&self, topic: &str) {
        run(self.install.java().args(["Harness", "forbid", &self.unrestricted_address(), USER, topic])).unwrap();
    }

    /// The installation, for its Java.
    pub(crate) fn install(&self) -> &'static Install {
        self.install
    }

    fn boot(&mut self) -> Result<(), String> {
        let mut child = spawn(self.install, self.dir.path(), &self.server_properties());
        answers(&mut child, self.dir.path(), self.ports[0])?;
        self.child = Some(child);
        Ok(())
    }

    fn server_properties(&self) -> String {
        let [client, inside, controller] = self.ports;
        let data = self.dir.path().join("data");
        let mut text = format!(
            "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
# An expired transaction is looked for each 10 s by default.
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# The default of 128 MiB is allocated at start.
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
# A test of compaction waits for the cleaner, which looks each 15 s by default.
log.cleaner.backoff.ms=500
# A restart after kill -9 waits for the old session to end: 9 s by default.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
",
            data.display()
        );
        if let Some(proxied) = self.proxied {
            text += &format!(
                "\
listeners=PLAINTEXT://127.0.0.1:{client},PROXIED://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},PROXIED://127.0.0.1:{proxied}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"
            );
            return text;
        }
        if self.kind == Kind::Plain {
            text += &format!(
                "\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"
            );
            return text;
        }
        text += &format!(
            "\
listeners=SASL_SSL://127.0.0.1:{client},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{client},INSIDE://127.0.0.1:{inside}
listener.security.protocol.map=SASL_SSL:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INSIDE
ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={STORE_PASSWORD}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{USER}=\"{PASSWORD}\";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
",
            self.install.key_store().display()
        );
        if self.kind == Kind::Acls {
            text += "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                     super.users=User:ANONYMOUS\n";
        }
        text
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a broker whose files lie in `dir`. It ends with this process.
pub(crate) fn spawn(install: &Install, dir: &Path, properties: &str) -> Child {
    let file = dir.join("server.properties");
    fs::write(&file, properties).unwrap();
    let out = fs::File::create(dir.join("broker.log")).unwrap();
    let mut java = install.java();
    java.args(["Harness", "broker"]).arg(&file).stdin(Stdio::piped()).stderr(out.try_clone().unwrap()).stdout(out);
    java.spawn().unwrap()
}

/// Waits until a broker answers on its client port, which opens only after it is ready; where it does not, ends it and
/// gives its log.
pub(crate) fn answers(child: &mut Child, dir: &Path, port: u16) -> Result<(), String> {
    let deadline = Instant::now() + BOOT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if child.try_wait().unwrap().is_some() || Instant::now() > deadline {
            kill(child);
            return Err(fs::read_to_string(dir.join("broker.log")).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `kill -9`.
pub(super) fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A clean stop.
pub(crate) fn stop(child: &mut Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
}

/// Makes a topic by the broker at `address`.
pub(super) fn create_topic_at(address: &str, topic: &str, partitions: i32, copies: i32, settings: &[(&str, &str)]) {
    let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
    for (key, value) in settings {
        wanted = wanted.set(key, value);
    }
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for result in runtime.block_on(admin.create_topics([&wanted], &options)).unwrap() {
        result.unwrap();
    }
}

/// Ports that were free a moment ago, held all at once so that they differ.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
