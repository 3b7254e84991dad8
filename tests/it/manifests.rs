//! Compose and Kubernetes manifests against what they name: the configuration's keys and defaults, the image's paths
//! and ports, the commands' flags. That they are what compose and Kubernetes take, `deploy/validate.sh` says by schema.

use std::{path::Path, process::Command, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use waypost::config::{Config, ConfigInputs, FlagValues};

use crate::dsl::{Site, link};

/// Time that a stop may take beyond its configured parts, for threads that are late.
const STOP_RESERVE: Duration = Duration::from_secs(15);

pub(crate) fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap()
}

fn documents(file: &str) -> Vec<Value> {
    let text = text(file);
    serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}

pub(crate) fn document(file: &str) -> Value {
    documents(file).remove(0)
}

pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub(crate) fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The configuration file that the image contains; the image sets no key by a variable, which would win over a mounted
/// configuration.
pub(crate) fn image_config() -> String {
    let dockerfile = text("Dockerfile");
    let mut instructions = dockerfile.lines().filter(|line| !line.starts_with('#'));
    assert!(!instructions.any(|line| line.contains("WAYPOST__")), "{dockerfile}");
    let copied = dockerfile.lines().find_map(|line| line.strip_prefix("COPY deploy/")).unwrap();
    let (file, path) = copied.split_once(' ').unwrap();
    assert!(dockerfile.contains(&format!("ENV WAYPOST_CONFIG={path}\n")), "{path}");
    text(file)
}

/// The configuration and the environment of the pod, with its directories moved below `root`.
fn pod(root: &Path) -> (Config, Vec<(String, String)>) {
    let set = document("kubernetes/statefulset.yaml");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let below = |text: &str| {
        let here = root.display();
        ["/etc/waypost", "/var/lib/waypost", "/run/"].iter().fold(text.to_owned(), |text, dir| {
            // `root` contains none of these, so nothing is replaced twice.
            text.replace(dir, &format!("{here}{dir}"))
        })
    };
    let mut environment = Vec::new();
    for variable in list(&container["env"]) {
        let (name, value) = (str(&variable["name"]), variable["value"].as_str().unwrap_or("waypost-0"));
        environment.push((name.to_owned(), value.replace("$(POD_NAME)", "waypost-0")));
    }
    environment.iter_mut().for_each(|(_, value)| *value = below(value));
    for dir in ["etc/waypost", "var/lib/waypost", "run/waypost", "run/keys"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (name, file) in document("kubernetes/configmap.yaml")["data"].as_object().unwrap() {
        std::fs::write(root.join("etc/waypost").join(name), below(str(file))).unwrap();
    }
    let args: Vec<String> = list(&container["args"]).iter().map(|arg| below(str(arg))).collect();
    assert_eq!(args[..2], ["serve", "--config"]);
    let ours = environment.iter().map(|(name, value)| (name.into(), value.into()));
    let inputs = ConfigInputs { file: Some(Path::new(&args[2])), environment: ours, flags: FlagValues::default() };
    (inputs.load().unwrap_or_else(|errors| panic!("{errors}")), environment)
}

fn longest_stop(config: &Config) -> Duration {
    config.server.pre_stop_delay + config.server.drain_deadline + config.delivery.drain_deadline + STOP_RESERVE
}

/// `64Mi`, `10Gi`
fn bytes(quantity: &Value) -> u64 {
    let text = str(quantity);
    let (number, unit) = text.split_at(text.len() - 2);
    number.parse::<u64>().unwrap() << if unit == "Gi" { 30 } else { 20 }
}

#[test]
fn a_pod_has_the_time_to_stop_that_its_configuration_asks_for() {
    let root = tempfile::tempdir().unwrap();
    let (config, _) = pod(root.path());
    let spec = document("kubernetes/statefulset.yaml")["spec"]["template"]["spec"].clone();
    let grace = Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(spec["containers"][0].get("lifecycle").is_none(), "a preStop hook's time would count too");
    assert!(grace >= longest_stop(&config), "{grace:?} of {:?}", longest_stop(&config));
    // The failed probes, and 5 s until every node knows.
    let probe = &spec["containers"][0]["readinessProbe"];
    let noticed = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(config.server.pre_stop_delay >= Duration::from_secs(noticed + 5));

    let compose = document("compose.yml");
    let grace = str(&compose["services"]["waypost"]["stop_grace_period"]);
    let grace = Duration::from_secs(grace.strip_suffix('s').unwrap().parse().unwrap());
    assert!(grace >= longest_stop(&Config::default()), "{grace:?} of {:?}", longest_stop(&Config::default()));
}

#[test]
fn a_pods_volumes_are_where_its_configuration_looks_and_large_enough() {
    let root = tempfile::tempdir().unwrap();
    let (config, _) = pod(root.path());
    let set = document("kubernetes/statefulset.yaml");
    let spec = &set["spec"]["template"]["spec"];
    let named = |name: &str| {
        let claims = list(&set["spec"]["volumeClaimTemplates"]).iter().map(|claim| (&claim["metadata"]["name"], claim));
        let volumes = list(&spec["volumes"]).iter().map(|volume| (&volume["name"], volume));
        claims.chain(volumes).find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no volume {name}")).1.clone()
    };
    let mut at = std::collections::BTreeMap::new();
    for container in list(&spec["initContainers"]).iter().chain(list(&spec["containers"])) {
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        for mount in list(&container["volumeMounts"]) {
            let below = root.path().join(str(&mount["mountPath"]).trim_start_matches('/'));
            at.insert(below, named(str(&mount["name"])));
        }
    }
    let journal = &at[&config.server.data_dir];
    let room = bytes(&journal["spec"]["resources"]["requests"]["storage"]);
    let logs = [config.journal.clone(), config.journal.for_orphans()];
    let budgets: u64 = logs.iter().map(|log| log.max_disk_bytes.as_usize() as u64).sum();
    assert!(room >= budgets * 5 / 4, "{room} bytes of disk");
    let ring = &at[config.journal.ring_dir.as_ref().unwrap()];
    assert_eq!(ring["emptyDir"]["medium"], "Memory");
    // Twice: a start with another number of workers adopts the rings of the start before.
    let rings_of_worker: u64 = logs.iter().map(|log| log.ring_bytes.as_usize() as u64).sum();
    let rings = 2 * config.edge.workers.unwrap() as u64 * rings_of_worker;
    assert!(bytes(&ring["emptyDir"]["sizeLimit"]) >= rings);
    let limit = bytes(&spec["containers"][0]["resources"]["limits"]["memory"]);
    assert!(limit >= 4 * rings, "the memory volume counts as the container's");
    let links = config.links.file.as_deref().unwrap().parent().unwrap();
    assert!(
        at.contains_key(links)
            && at.contains_key(config.attribution.keyring_path(&config.server.data_dir).parent().unwrap())
    );
}

#[test]
fn ports_probes_and_labels_of_the_manifests_meet() {
    let root = tempfile::tempdir().unwrap();
    let (config, _) = pod(root.path());
    let set = document("kubernetes/statefulset.yaml");
    let (spec, labels) = (&set["spec"]["template"]["spec"], &set["spec"]["template"]["metadata"]["labels"]);
    let container = &spec["containers"][0];
    let port = |name: &Value| {
        let ports = list(&container["ports"]).iter();
        ports.filter(|port| port["name"] == *name).map(|port| port["containerPort"].as_u64().unwrap()).next().unwrap()
    };
    let admin = u64::from(config.admin.listen.port());
    assert_eq!(config.edge.listen[0].address.to_string(), format!("0.0.0.0:{}", port(&"http".into())));
    assert!(config.admin.listen.ip().is_unspecified() && port(&"admin".into()) == admin);
    assert!(text("Dockerfile").contains(&format!("EXPOSE {} {admin}\n", port(&"http".into()))));
    for (probe, path) in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((str(&get["path"]), port(&get["port"])), (path, admin), "{probe}");
    }
    assert_eq!(
        spec["securityContext"]["runAsUser"].as_u64().map(|user| format!("USER {user}")),
        Some("USER 10001".into())
    );
    assert!(text("Dockerfile").contains("USER 10001\n"));
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&document("kubernetes/poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"], labels);
    let services = documents("kubernetes/service.yaml");
    assert!(services.iter().any(|service| service["metadata"]["name"] == set["spec"]["serviceName"]));
    for service in &services {
        assert_eq!(&service["spec"]["selector"], labels);
        for published in list(&service["spec"]["ports"]) {
            port(&published["targetPort"]);
        }
    }
    let listed = document("kubernetes/kustomization.yaml");
    for file in list(&listed["resources"]) {
        for document in documents(&format!("kubernetes/{}", str(file))) {
            let named = document["kind"] == "Namespace" || document["metadata"]["namespace"] == listed["namespace"];
            assert!(named, "{file}");
        }
    }
    assert_eq!(listed["images"][0]["name"], container["image"]);
}

/// Every edge of a fleet has the same keys: they are exported once and copied into each pod.
#[test]
fn a_pod_is_checked_by_waypost_itself_with_keys_from_another_edge() {
    let first = Site::with_codes(&["live"]);
    let keys = first.data().join("keys.json").display().to_string();
    let exported =
        first.command(&["keys", "export", "--data-dir", &first.data().display().to_string()]).output().unwrap();
    assert!(exported.status.success(), "{keys}: {}", String::from_utf8_lossy(&exported.stderr));
    let root = tempfile::tempdir().unwrap();
    let (config, environment) = pod(root.path());
    let secret = root.path().join("secret.json");
    std::fs::write(&secret, exported.stdout).unwrap();
    let init = &document("kubernetes/statefulset.yaml")["spec"]["template"]["spec"]["initContainers"][0]["command"];
    let [install, flag, mode, _, to] = &list(init)[..] else { panic!("{init}") };
    let to = root.path().join(str(to).trim_start_matches('/'));
    assert_eq!(to, config.attribution.keyring_path(&config.server.data_dir));
    let status = Command::new(str(install)).args([str(flag), str(mode)]).arg(&secret).arg(&to).status().unwrap();
    assert!(status.success());
    let checked = Command::new(env!("CARGO_BIN_EXE_waypost"))
        .args(["check", "--config"])
        .arg(root.path().join("etc/waypost/waypost.toml"))
        .envs(environment)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A replaced pod has its volume and an empty memory volume, on the same machine or another.
#[test]
fn a_pod_that_comes_back_without_its_memory_volume_has_every_click() {
    let ring = tempfile::tempdir().unwrap();
    let mut site =
        Site::new(&[link("live")]).env("WAYPOST__JOURNAL__RING_DIR", &ring.path().display().to_string()).start();
    for _ in 0..20 {
        assert_eq!(site.get("/live", &[]).status, 302);
    }
    assert_eq!(site.stop().0, Some(0));
    for entry in std::fs::read_dir(ring.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    site.restart();
    assert_eq!(site.get("/live", &[]).status, 302);
    assert_eq!(site.wait_for_events("clicks", 21).len(), 21);
}

#[test]
fn compose_names_files_flags_and_ports_that_exist() {
    let compose = document("compose.yml");
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for volume in service.get("volumes").map_or(&vec![], list) {
            let (from, to) = str(volume).split_once(':').unwrap();
            if from.starts_with('.') {
                assert!(!text(from.trim_start_matches("./")).is_empty(), "{name}: {from}");
            } else {
                assert!(compose["volumes"].get(from).is_some(), "{name}: {from}");
            }
            assert!(to.starts_with('/'));
        }
        for other in service["depends_on"].as_object().into_iter().flatten().map(|(other, _)| other) {
            assert!(services.contains_key(other), "{name} waits for {other}");
        }
    }
    let mut command: Vec<&str> = list(&services["topics"]["command"]).iter().map(str).collect();
    // With `--help` the flags before it are parsed, and nothing is done.
    command.push("--help");
    let said = Command::new(env!("CARGO_BIN_EXE_waypost")).args(&command).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));

    let variables = services["waypost"]["environment"].as_object().unwrap();
    let ours = variables.iter().map(|(name, value)| (name.into(), str(value).into()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("waypost.toml");
    std::fs::write(&file, image_config()).unwrap();
    let inputs = ConfigInputs { file: Some(&file), environment: ours, flags: FlagValues::default() };
    let config = inputs.load().unwrap_or_else(|errors| panic!("{errors}"));
    let mounted: Vec<&str> =
        list(&services["waypost"]["volumes"]).iter().map(|volume| str(volume).split(':').nth(1).unwrap()).collect();
    assert_eq!(mounted[0], config.server.data_dir.display().to_string());
    assert_eq!(mounted[1], config.links.file.unwrap().display().to_string());

    let prometheus = document("compose/prometheus.yml");
    let target = str(&prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0]).to_owned();
    assert_eq!(target, format!("waypost:{}", config.admin.listen.port()));
    let rules = str(&prometheus["rule_files"][0]);
    let mounts = list(&services["prometheus"]["volumes"]);
    assert!(mounts.iter().any(|mount| str(mount) == format!("./prometheus/waypost.rules.yml:{rules}:ro")), "{rules}");
}

/// What an operator mounts is in force: the image adds no key of its own to it, and no links.
#[test]
fn a_mounted_configuration_replaces_that_of_the_image_as_a_whole() {
    let dockerfile = text("Dockerfile");
    assert!(!dockerfile.contains("links.example"), "the image contains no links");
    assert!(!text("Dockerfile.dockerignore").contains("links"), "nor does its context");
    let site = Site::new(&[link("live")]);
    site.write("waypost.toml", &image_config().replace("/etc/waypost/links.jsonl", "/nowhere/links.jsonl"));
    let file = site.path("waypost.toml").display().to_string();
    let output = site.command(&["check"]).env("WAYPOST_CONFIG", &file).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{printed}");
    assert!(printed.contains("/nowhere/links.jsonl: the links cannot be read"), "{printed}");
}
