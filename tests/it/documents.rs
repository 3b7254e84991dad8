//! Runs the pages: every `sh` block of a page, and `deploy/demo.sh`, whose transcript stands in the README.
//!
//! A block whose first line is `# needs: …` is not run, except `# needs: Kafka` where there is a broker.
//! `tests/documents.rs` checks the names on the pages; `docs/README.md` describes both for readers.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::symlink, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    dsl::{ports, until},
    kafka::broker::{Broker, Kind},
    need::has_program,
};

/// The pages with blocks that run.
const PAGES: [&str; 10] = [
    "README.md",
    "docs/api.md",
    "docs/payouts.md",
    "docs/links.md",
    "docs/catalog.md",
    "docs/import.md",
    "docs/operate.md",
    "docs/guarantees.md",
    "docs/receipts.md",
    "docs/reprocess.md",
];

/// The README's first command; the test's server is started as it says.
const SERVE: &str = "cargo run --release -- serve --links deploy/links.example.jsonl";

/// What blocks with commands for a broker say in their first line.
const NEEDS_KAFKA: &str = "# needs: Kafka";

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> String {
    fs::read_to_string(tree().join(path)).unwrap()
}

/// The text of every fenced block in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in page.lines() {
        match (&mut block, line.trim_start().strip_prefix("```")) {
            (None, Some(found)) => block = Some((found.trim() == language, String::new())),
            (Some(_), Some(_)) => blocks.extend(block.take().filter(|block| block.0).map(|block| block.1)),
            (Some((_, text)), None) => *text += &format!("{}\n", line.trim_start()),
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a page that this test runs, one script for the page: a variable of one block is there in the next.
fn script(page: &str, with_kafka: bool) -> String {
    let runs = |block: &&String| {
        let first = block.lines().next().unwrap_or_default();
        if with_kafka { first == NEEDS_KAFKA } else { !first.starts_with("# needs:") }
    };
    let blocks = blocks(page, "sh");
    let lines = blocks.iter().filter(runs).flat_map(|block| block.lines());
    // The server of the first command runs, and the second one is the run of this test.
    let lines = lines.filter(|line| !line.starts_with(SERVE) && !line.starts_with("cargo test"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Where a reader sleeps, the test waits for what the reader waits for.
const WAITS: [(&str, &str, &str); 2] = [
    (
        "sleep 1;",
        "delivered",
        // Each of the three is made known by a thread of its own, in any order.
        "/^waypost_clicks_total/ { asked += $2 } /^waypost_clicks_journaled_total/ { taken += $2 } \
         /^waypost_clicks_delivered_total/ { done += $2 } END { exit !(taken > 0 && taken == done && asked >= taken) }",
    ),
    ("sleep 2;", "reloaded", "/^waypost_links_reloads_total.*ok/ { done += $2 } END { exit !done }"),
];

/// An address for a server that a page starts.
fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A server, and a directory in which a page's commands find what the tree has.
struct Sandbox {
    dir: tempfile::TempDir,
    server: Child,
    listen: SocketAddr,
    admin: SocketAddr,
    broker: String,
}

impl Sandbox {
    fn start(broker: Option<&str>) -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["bin", "deploy", "target/release", "tests"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for program in ["bin/waypost", "target/release/waypost"] {
            symlink(env!("CARGO_BIN_EXE_waypost"), path(program)).unwrap();
        }
        fs::copy(tree().join("deploy/links.example.jsonl"), path("deploy/links.example.jsonl")).unwrap();
        symlink(tree().join("tests/fixtures"), path("tests/fixtures")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.args(SERVE.split(" -- ").last().unwrap().split(' '));
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        if let Some(broker) = broker {
            command.args(["--kafka", broker]).env("WAYPOST__EDGE__ID", "seoul-1");
        }
        let log = path("server.log");
        let mut server = command
            .env("WAYPOST__EDGE__WORKERS", "1")
            .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (listen, admin) = until("the server of the page listens", || {
            let log = fs::read_to_string(&log).unwrap();
            if let Some(status) = server.try_wait().unwrap() {
                panic!("the server ended with {status}: {log}");
            }
            log.lines().find_map(ports)
        });
        let broker = broker.unwrap_or("127.0.0.1:9092").to_owned();
        Sandbox { dir, server, listen: listen[0], admin, broker }
    }

    /// A command in this directory that finds this server, in a process group of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.dir.path())
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("WAYPOST__ADMIN__LISTEN", self.admin.to_string())
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs a page's commands from top to bottom and gives what they printed.
    fn run(&self, name: &str, script: &str) -> String {
        let mut script = script.to_owned();
        for (sleep, wait, condition) in WAITS {
            let metrics = "curl -s http://127.0.0.1:9100/metrics";
            let function =
                format!("{wait}() {{ (set +x; until {metrics} | awk '{condition}'; do sleep 0.1; done); }}\n");
            script = function + &script.replace(sleep, &format!("{wait};"));
        }
        let script = script
            .replace("127.0.0.1:8080", &self.listen.to_string())
            .replace("127.0.0.1:9100", &self.admin.to_string())
            .replace("127.0.0.1:9101", &unused_address())
            .replace("127.0.0.1:9092", &self.broker);
        until("the server of the page is ready", || {
            self.command("waypost").arg("healthcheck").output().unwrap().status.success().then_some(())
        });
        let script = format!("exec 2>&1\nset -eux\n{script}");
        let output = self.command("timeout").args(["120", "sh", "-c", &script]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = fs::read_to_string(self.dir.path().join("server.log")).unwrap();
        assert!(output.status.success(), "{name}: {}\n{printed}\n--- the server's log\n{log}", output.status);
        printed
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Perhaps it has ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs one page and gives what its commands printed.
fn run_page(name: &str) -> Option<String> {
    if !has_program("curl", "--version") {
        return None;
    }
    let script = script(&page(name), false);
    assert!(script.lines().count() > 1, "{name} has no commands to run: {script}");
    Some(Sandbox::start(None).run(name, &script))
}

#[test]
fn the_readme_runs_and_its_click_is_a_redirect_of_a_bot() {
    let Some(printed) = run_page("README.md") else { return };
    for expected in ["HTTP/1.1 302 Found", "no: bot", "waypost_clicks_total{outcome=\"redirected\"} 1"] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
    assert!(blocks(&page("README.md"), "sh")[0].starts_with(SERVE), "the README begins with the command that serves");
}

#[test]
fn the_page_about_payouts_runs_and_its_token_is_valid() {
    let Some(printed) = run_page("docs/payouts.md") else { return };
    for expected in [
        r#""verdict":"valid""#,
        r#""audience":"s_311""#,
        "https://shop.example.com/view/product/",
        r#""state":"rejected","reason":"no_creditable_click""#,
        "not_human: the click was a machine's",
    ] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
}

#[test]
fn the_page_about_links_runs_and_its_new_link_is_served() {
    let Some(printed) = run_page("docs/links.md") else { return };
    for expected in ["links: good, 6", "https://shop.example.com/mug"] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
}

#[test]
fn the_page_about_imports_runs_and_every_sample_is_accepted() {
    let Some(printed) = run_page("docs/import.md") else { return };
    let report = blocks(&page("docs/import.md"), "text").concat();
    assert!(printed.contains(&report), "{report} is not in:\n{printed}");
    assert!(printed.contains("links: good, 3"), "{printed}");
    assert_eq!(printed.matches("nothing is written: --dry-run").count(), 16, "{printed}");
    assert!(printed.contains("written to the catalog: 3 created, 0 changed"), "{printed}");
}

#[test]
fn the_page_about_the_api_runs_and_its_links_are_a_links_file() {
    let Some(printed) = run_page("docs/api.md") else { return };
    for expected in [
        "HTTP/1.1 201 Created",
        "\n304\n",
        r#""refused":1"#,
        r#"{"next":"#,
        r#""reason":"under review""#,
        "\n204\n",
        r#""changed":3"#,
        r#""host":"new.example.com","settings""#,
        r#""check":"link_of_path","result":"mug: found""#,
        "links: good, 3",
    ] {
        assert!(printed.contains(expected), "{expected:?} is not in:\n{printed}");
    }
}

#[test]
fn the_page_about_the_catalog_runs_on_a_data_directory_and_a_server() {
    let Some(printed) = run_page("docs/catalog.md") else { return };
    for expected in ["created */mug at version 1", "A large mug", "would change 1 links", "is sound", "backed up to"] {
        assert!(printed.contains(expected), "{expected:?} is not in:\n{printed}");
    }
}

#[test]
fn the_page_about_operation_runs() {
    let Some(printed) = run_page("docs/operate.md") else { return };
    assert!(printed.contains("signing") && printed.contains("sound"), "{printed}");
}

#[test]
fn the_page_about_receipts_runs_and_a_tap_is_proved() {
    let Some(printed) = run_page("docs/receipts.md") else { return };
    for expected in ["-----BEGIN PUBLIC KEY-----", "creator c_48213", r#"{"click":{"class":"bot""#, r#""path":[""#] {
        assert!(printed.contains(expected), "{expected:?} is not in:\n{printed}");
    }
}

#[test]
fn the_page_about_reprocessing_runs_and_exports_a_tap() {
    let Some(printed) = run_page("docs/reprocess.md") else { return };
    for expected in ["part-00000.parquet  1 clicks", "0 of 1 lines are decided differently"] {
        assert!(printed.contains(expected), "{expected:?} is not in:\n{printed}");
    }
}

/// Every page with a runnable block has a test above.
#[test]
fn no_page_with_commands_is_forgotten() {
    let docs =
        fs::read_dir(tree().join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/runbook.md"].map(str::to_owned);
    for name in pages.chain(others) {
        let text = page(&name);
        let runs = !script(&text, false).is_empty() || !script(&text, true).is_empty();
        assert!(!runs || PAGES.contains(&name.as_str()), "{name} has commands, and no test runs them");
    }
}

#[test]
fn commands_that_need_kafka_run_where_kafka_is() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let address = broker.address();
    let sandbox = Sandbox::start(Some(&address));
    // In the order in which an operator needs them: the topics first.
    let printed = sandbox.run("docs/operate.md", &script(&page("docs/operate.md"), true));
    assert!(printed.contains("clicks.lanes"), "{printed}");
    let audit = script(&page("docs/guarantees.md"), true);
    sandbox.run("a click", "curl -s http://127.0.0.1:8080/tea; sleep 1; waypost clicks tail --kafka 127.0.0.1:9092");
    until("all lanes have stated that they are complete", || {
        let mut command = sandbox.command("waypost");
        command.args(["clicks", "audit", "--kafka", &address]).output().unwrap().status.success().then_some(())
    });
    let printed = sandbox.run("docs/guarantees.md", &audit);
    assert!(printed.contains("COMPLETE"), "{printed}");
}

/// Runs `deploy/demo.sh` and gives what it printed.
fn demonstration(kafka: Option<&str>) -> String {
    let mut command = Command::new(tree().join("deploy/demo.sh"));
    command.env("WAYPOST", env!("CARGO_BIN_EXE_waypost")).stdin(Stdio::null()).process_group(0);
    if let Some(kafka) = kafka {
        command.args(["--kafka", kafka]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut printed, mut errors) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "deploy/demo.sh: {status}\n{printed}\n{errors}");
    printed
}

/// A line of a transcript without what differs from run to run: each number and each word of a token is `#`.
fn comparable(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        // Counts and days of a table, ports; status codes stay.
        let varies = has_digit && !["302", "HTTP/1.1", "-9", "wc"].contains(&word.trim_end_matches([';', ',']));
        words.push(if varies { "#".to_owned() } else { word.to_owned() });
    }
    words.join(" ")
}

/// Whether a line of the README is this line of the run. A word that `…` ends is the start of one.
fn is_line(shown: &str, printed: &str) -> bool {
    match shown.split_once('…') {
        Some((start, end)) => {
            let end = end.trim_start_matches(|c: char| c != ';');
            printed.starts_with(start) && printed.ends_with(end)
        }
        None => comparable(shown) == comparable(printed),
    }
}

#[test]
fn the_readme_shows_what_the_demonstration_prints() {
    if !has_program("curl", "--version") {
        return;
    }
    let printed = demonstration(None);
    let transcript = blocks(&page("README.md"), "console").concat();
    let mut lines = printed.lines();
    for shown in transcript.lines().filter(|line| *line != "…" && *line != "$ deploy/demo.sh") {
        assert!(
            lines.any(|line| is_line(shown, line)),
            "the README shows {shown:?}, which is not there, or not in order:\n{printed}"
        );
    }
}

#[test]
fn the_demonstration_on_kafka_ends_with_a_complete_audit() {
    if !has_program("curl", "--version") {
        return;
    }
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let printed = demonstration(Some(&broker.address()));
    for expected in ["no answered click is lost", "\nCOMPLETE\n"] {
        assert!(printed.contains(expected), "{expected:?} is not in:\n{printed}");
    }
}
