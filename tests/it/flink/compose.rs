//! The services of the commission pipeline in `deploy/compose.yml`, each outside its image: the same commands, with
//! hosts and ports moved to loopback. An order goes in, its row comes out, and a stop leaves savepoints.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use super::install::{FlinkInstall, flink_install};
use crate::{
    compose::{Replacements, Running, start_kafka, successful_output},
    kafka::{
        broker::{free_ports, stop},
        install::install,
        reader::read,
    },
    manifests::{document, str, text},
};

/// How long the cluster may take to start and to write a row, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A service that runs on, and its log.
struct Service {
    running: Running,
    log: std::path::PathBuf,
}

impl Service {
    fn start(install: &FlinkInstall, dir: &Path, name: &str, command: &[String]) -> Service {
        let log = dir.join(format!("{name}.log"));
        let file = fs::File::create(&log).unwrap();
        let mut script = install.script();
        let child = script.args(command).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Service { running: Running(child.spawn().unwrap()), log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.log()) {
            assert!(self.running.0.try_wait().unwrap().is_none(), "the service ended: {}", self.log());
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn send_order(kafka: &str) {
    let line = json!({"line_id": "1", "seller_id": "s", "product_id": "p", "quantity": 1, "value_minor": 5,
        "currency": "VND"});
    // A version says what was so when it was made, so it is not older than the payment.
    let paid_ms = now_ms();
    let order = json!({"order_id": "o_1", "updated_at_ms": paid_ms, "buyer_id": "b", "paid_at_ms": paid_ms,
        "click_tokens": [], "lines": [line]});
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    producer.send(BaseRecord::to("orders").key("o_1").payload(&order.to_string())).map_err(|(why, _)| why).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Steps that the image does before its entry point runs: the jars, and the paths that the commands name.
fn check_image() {
    let image = text("flink/Dockerfile");
    assert!(image.contains("/opt/waypost-flink/build.sh /out"), "{image}");
    assert!(image.contains("ENTRYPOINT [\"/opt/waypost-flink/flink.sh\"]"), "{image}");
}

#[test]
#[ignore = "long: a Flink cluster of two task managers and three jobs"]
fn compose_runs_the_pipeline_on_a_cluster_step_by_step() {
    let (Some(flink), Some(kafka_install)) = (flink_install(), install()) else { return };
    check_image();
    let services = &document("compose.yml")["services"];
    let dir = tempfile::tempdir().unwrap();
    let [broker, controller, rest, rpc] = free_ports();
    let replacements = Replacements(
        [
            ("PLAINTEXT://:9092", format!("PLAINTEXT://127.0.0.1:{broker}")),
            ("CONTROLLER://:9093", format!("CONTROLLER://127.0.0.1:{controller}")),
            ("kafka:9092", format!("127.0.0.1:{broker}")),
            ("kafka:9093", format!("127.0.0.1:{controller}")),
            ("flink-jobmanager", "127.0.0.1".to_owned()),
            ("8081", rest.to_string()),
            ("6123", rpc.to_string()),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            ("/var/lib/", format!("{}/", dir.path().display())),
        ]
        .map(|(from, to)| (from.to_owned(), to))
        .into(),
    );
    let words = |name: &str| replacements.words(&services[name]["command"]);
    let _kafka = start_kafka(kafka_install, dir.path(), &services["kafka"], &replacements, broker);
    let mut topics = Command::new(env!("CARGO_BIN_EXE_waypost"));
    successful_output("topics", &topics.current_dir(dir.path()).args(words("topics")).output().unwrap());
    successful_output("flink-topics", &flink.script().args(words("flink-topics")).output().unwrap());

    let start = |name: &str, number: &str| Service::start(flink, dir.path(), &format!("{name}{number}"), &words(name));
    let _manager = start("flink-jobmanager", "");
    assert_eq!(services["flink-taskmanager"]["scale"], 2);
    let _task_managers = ["-1", "-2"].map(|number| start("flink-taskmanager", number));
    let _ticks = start("flink-ticks", "");
    // Compose starts the jobs again until the job manager answers.
    let mut jobs = start("flink-jobs", "");
    let deadline = Instant::now() + PATIENCE;
    while jobs.running.0.try_wait().unwrap().is_some() || jobs.log().matches(": running, ").count() < 3 {
        assert!(Instant::now() < deadline, "{}", jobs.log());
        if jobs.running.0.try_wait().unwrap().is_some() {
            jobs = start("flink-jobs", "");
        }
        std::thread::sleep(Duration::from_millis(500));
    }

    let address = format!("127.0.0.1:{broker}");
    send_order(&address);
    let rows = read(kafka_install, &address, &["commissions"], 1, PATIENCE);
    let row: Value = rows[0].json();
    assert_eq!((str(&row["state"]), str(&row["reason"])), ("rejected", "no_click"), "{row}");

    // A launcher that is killed leaves its jobs on the cluster; the next one finds them.
    jobs.running.0.kill().unwrap();
    let mut jobs = start("flink-jobs", "");
    jobs.wait_until("the jobs are found", |log| log.matches(": running, as before this start").count() == 3);
    stop(&mut jobs.running.0);
    assert_eq!(jobs.log().matches("stopped, savepoint ").count(), 3, "{}", jobs.log());
}
