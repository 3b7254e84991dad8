//! `deploy/compose.yml`, each of its steps outside its image: the same settings, commands, files and health checks, in
//! its order. What is moved: its hosts and ports to loopback, its directories to the test's own.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output},
    time::Duration,
};

use serde_json::Value;

use crate::{
    dsl::{Connection, request, until},
    kafka::{
        broker::{answers, free_ports, spawn, stop},
        install::{Install, install, run},
    },
    manifests::{document, image_config, list, str, text},
    prometheus::Prometheus,
};

/// Texts of the file, each with its replacement for this test.
pub(crate) struct Replacements(pub(crate) Vec<(String, String)>);

impl Replacements {
    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    pub(crate) fn words(&self, command: &Value) -> Vec<String> {
        list(command).iter().map(|word| self.text(str(word))).collect()
    }

    fn environment(&self, service: &Value) -> Vec<(String, String)> {
        let variables = service["environment"].as_object().unwrap();
        variables.iter().map(|(name, value)| (name.clone(), self.text(str(value)))).collect()
    }
}

/// A process that is killed when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Converts variables as Apache Kafka's image does: `KAFKA_LOG_DIRS` is `log.dirs`.
fn server_properties(environment: &[(String, String)]) -> String {
    let named = environment.iter().filter_map(|(name, value)| Some((name.strip_prefix("KAFKA_")?, value)));
    named.map(|(name, value)| format!("{}={value}\n", name.to_lowercase().replace('_', "."))).collect()
}

pub(crate) fn start_kafka(
    install: &'static Install,
    dir: &Path,
    service: &Value,
    replacements: &Replacements,
    port: u16,
) -> Running {
    let properties = server_properties(&replacements.environment(service));
    let file = dir.join("format.properties");
    fs::write(&file, &properties).unwrap();
    let format = ["kafka.tools.StorageTool", "format", "--cluster-id", "test-cluster", "-c"];
    run(install.java().args(format).arg(&file)).unwrap();
    let mut child = spawn(install, dir, &properties);
    answers(&mut child, dir, port).unwrap_or_else(|log| panic!("{log}"));
    Running(child)
}

pub(crate) fn successful_output(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn compose_does_step_by_step_what_its_comments_say() {
    let Some(install) = install() else { return };
    let compose = document("compose.yml");
    let services = &compose["services"];
    let dir = tempfile::tempdir().unwrap();
    let [broker, controller, clicks, admin] = free_ports();
    let here = dir.path().display();
    let replacements = Replacements(
        [
            ("PLAINTEXT://:9092", format!("PLAINTEXT://127.0.0.1:{broker}")),
            ("CONTROLLER://:9093", format!("CONTROLLER://127.0.0.1:{controller}")),
            ("kafka:9092", format!("127.0.0.1:{broker}")),
            ("kafka:9093", format!("127.0.0.1:{controller}")),
            ("0.0.0.0:8080", format!("127.0.0.1:{clicks}")),
            ("0.0.0.0:9100", format!("127.0.0.1:{admin}")),
            ("waypost:9100", format!("127.0.0.1:{admin}")),
            ("/var/lib/", format!("{here}/")),
            ("/etc/waypost/links.jsonl", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/links.example.jsonl").to_owned()),
            ("/etc/prometheus/waypost.rules.yml", format!("{here}/waypost.rules.yml")),
        ]
        .map(|(from, to)| (from.to_owned(), to))
        .into(),
    );

    let _kafka = start_kafka(install, dir.path(), &services["kafka"], &replacements, broker);
    let check = replacements.words(&services["kafka"]["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh"]);
    run(install.java().arg("org.apache.kafka.tools.BrokerApiVersionsCommand").args(&check[2..])).unwrap();

    let config = dir.path().join("waypost.toml");
    fs::write(&config, replacements.text(&image_config())).unwrap();
    let mut environment = replacements.environment(&services["waypost"]);
    environment.push(("WAYPOST_CONFIG".to_owned(), config.display().to_string()));
    let waypost = |args: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.args(args).current_dir(dir.path()).envs(environment.iter().map(|(name, value)| (name, value)));
        command
    };
    successful_output("topics", &waypost(&replacements.words(&services["topics"]["command"])).output().unwrap());

    let log = fs::File::create(dir.path().join("waypost.log")).unwrap();
    let mut serving =
        Running(waypost(&["serve".to_owned()]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let log = || fs::read_to_string(dir.path().join("waypost.log")).unwrap();
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("CMD [\"waypost\", \"healthcheck\"]") && dockerfile.contains("CMD [\"serve\"]"));
    until("the image's health check", || {
        assert!(serving.0.try_wait().unwrap().is_none(), "{}", log());
        waypost(&["healthcheck".to_owned()]).output().unwrap().status.success().then_some(())
    });

    let comment = text("compose.yml");
    assert!(
        comment.contains("# curl -i http://127.0.0.1:8080/tea ")
            && comment.contains("exec waypost waypost clicks tail")
    );
    let answer = Connection::to(([127, 0, 0, 1], clicks).into()).send(&request("GET", "/tea", &[]));
    assert_eq!(answer.status, 302);
    until("the click on its topic", || {
        let tail = waypost(&["clicks", "tail"].map(str::to_owned)).output().unwrap();
        successful_output("clicks tail", &tail).contains("tea").then_some(())
    });

    // Prometheus looks for the rules where compose mounts them.
    fs::write(dir.path().join("waypost.rules.yml"), text("prometheus/waypost.rules.yml")).unwrap();
    if let Some(prometheus) = Prometheus::start(dir.path(), &replacements.text(&text("compose/prometheus.yml"))) {
        prometheus.wait_for_text("targets", "\"health\":\"up\"");
        prometheus.wait_for_text("rules", "\"name\":\"WaypostClicksUnrecorded\"");
    }

    let grace: u64 = str(&services["waypost"]["stop_grace_period"]).strip_suffix('s').unwrap().parse().unwrap();
    let asked = std::time::Instant::now();
    stop(&mut serving.0);
    assert!(asked.elapsed() < Duration::from_secs(grace), "{}", log());
    assert!(log().contains("\"event\":\"stopped\""), "{}", log());
}
