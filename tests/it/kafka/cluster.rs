//! Three nodes of Apache Kafka, each broker and controller. Every topic has three replicas, of which two must be in
//! sync.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    broker::{answers, create_topic_at, free_ports, kill, spawn, stop},
    install::{Install, install, run},
    reader::{Record, read},
    site::{lanes_topic, orphan_topic},
};

const NODES: usize = 3;
/// Attempts to start: another process can take a free port first.
const ATTEMPTS: usize = 5;
/// Copies of each topic.
const COPIES: &str = "3";
const IN_SYNC: &str = "2";

/// The running and the stopped nodes; killed when dropped.
pub(crate) struct Cluster {
    install: &'static Install,
    dir: tempfile::TempDir,
    /// Of each node, for clients and for controllers.
    ports: [u16; 2 * NODES],
    nodes: [Option<Child>; NODES],
}

/// A partition as its leader's cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The node that leads it, counted from 0; `None` where none does.
    pub(crate) leader: Option<usize>,
    pub(crate) in_sync: usize,
}

impl Cluster {
    /// Starts three nodes and waits until they answer; `None` where there is no Kafka to test with, and the test is to
    /// be skipped.
    pub(crate) fn start() -> Option<Cluster> {
        let install = install()?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let dir = tempfile::tempdir().unwrap();
            let mut cluster = Cluster { install, dir, ports: free_ports(), nodes: [const { None }; NODES] };
            (0..NODES).for_each(|node| cluster.format(node));
            match cluster.boot(&[0, 1, 2]) {
                Ok(()) => return Some(cluster),
                Err(why) if why.contains("Address already in use") => last = why,
                Err(why) => panic!("a node died: {why}"),
            }
        }
        panic!("no free ports for a cluster: {last}");
    }

    /// The address for `--kafka`.
    pub(crate) fn address(&self) -> String {
        (0..NODES).map(|node| format!("127.0.0.1:{}", self.ports[node])).collect::<Vec<_>>().join(",")
    }

    /// Makes a topic of clicks with so many partitions that wants so many copies in sync, that of its orphans and that
    /// of its lanes.
    pub(crate) fn create_click_topics(&self, topic: &str, partitions: i32, in_sync: usize) {
        let in_sync = in_sync.to_string();
        create_topic_at(&self.address(), topic, partitions, NODES as i32, &[("min.insync.replicas", &in_sync)]);
        for topic in [orphan_topic(topic), lanes_topic(topic)] {
            create_topic_at(&self.address(), &topic, 1, NODES as i32, &[]);
        }
    }

    /// The partitions of a topic; `None` while no node answers.
    pub(crate) fn partitions(&self, topic: &str) -> Option<Vec<Partition>> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.address()).set("log_level", "0").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let partitions = metadata.topics().first()?.partitions().iter();
        Some(
            partitions
                .map(|partition| Partition {
                    leader: usize::try_from(partition.leader() - 1).ok(),
                    in_sync: partition.isr().len(),
                })
                .collect(),
        )
    }

    /// The next copy of each partition leads it from now on.
    pub(crate) fn move_leaders(&self, topic: &str) {
        run(self.install.java().args(["Harness", "lead", &self.address(), topic])).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, node: usize) {
        kill(&mut self.nodes[node].take().expect("the node runs"));
    }

    /// A clean stop, which hands over what the node leads.
    pub(crate) fn stop(&mut self, node: usize) {
        stop(&mut self.nodes[node].take().expect("the node runs"));
    }

    /// Starts nodes again on their ports and their data.
    pub(crate) fn restart(&mut self, nodes: &[usize]) {
        self.boot(nodes).unwrap_or_else(|why| panic!("a node did not come back: {why}"));
    }

    /// Every record of the topics.
    pub(crate) fn read(&self, topics: &[&str], at_least: usize, patience: Duration) -> Vec<Record> {
        read(self.install, &self.address(), topics, at_least, patience)
    }

    fn boot(&mut self, nodes: &[usize]) -> Result<(), String> {
        // Together: one alone has no quorum, and does not open its port.
        for node in nodes {
            let child = spawn(self.install, &self.node(*node), &self.server_properties(*node));
            assert!(self.nodes[*node].replace(child).is_none(), "the node still runs");
        }
        for node in nodes {
            let (dir, port) = (self.node(*node), self.ports[*node]);
            let Some(child) = &mut self.nodes[*node] else { continue };
            answers(child, &dir, port)?;
        }
        Ok(())
    }

    fn node(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node-{node}"))
    }

    /// The template is node 1's: another one differs by its number and the id of its directory.
    fn format(&self, node: usize) {
        let data = self.node(node).join("data");
        self.install.formatted("plain", &data).unwrap();
        let file = data.join("meta.properties");
        let lines = fs::read_to_string(&file).unwrap();
        let lines = lines.lines().map(|line| match line.split_once('=') {
            Some(("node.id", _)) => format!("node.id={}\n", node + 1),
            Some(("directory.id", id)) => format!("directory.id={}{}\n", ["B", "C", "D"][node], &id[1..]),
            _ => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
    }

    fn server_properties(&self, node: usize) -> String {
        let controller = |node: usize| format!("127.0.0.1:{}", self.ports[NODES + node]);
        let voters: Vec<String> = (0..NODES).map(|node| format!("{}@{}", node + 1, controller(node))).collect();
        format!(
            "\
process.roles=broker,controller
node.id={}
controller.quorum.voters={}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://{}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
default.replication.factor={COPIES}
min.insync.replicas={IN_SYNC}
offsets.topic.replication.factor={COPIES}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={COPIES}
transaction.state.log.min.isr={IN_SYNC}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={COPIES}
share.coordinator.state.topic.min.isr={IN_SYNC}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
unclean.leader.election.enable=false
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
# A node that is killed leads on for as long as this.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
",
            node + 1,
            voters.join(","),
            controller(node),
            data(&self.node(node)),
            port = self.ports[node],
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().flatten().for_each(kill);
    }
}

fn data(node: &Path) -> String {
    node.join("data").display().to_string()
}
