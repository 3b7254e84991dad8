//! What every test uses: a [`Site`] is the real process with its own directory and ports, a [`Connection`] a raw
//! connection to it, an [`Answer`] an HTTP answer as it was received.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a test waits for a condition before it fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `condition` returns a value, and returns it. Fails after [`TIMEOUT`].
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {TIMEOUT:?} for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sets a flag when it is dropped, so that the load threads of a scope end even if the test fails.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A live link of kind `product` whose destination is outside the cookie's domain. It is a test link: its clicks never
/// count.
pub(crate) fn link(code: &str) -> String {
    format!(
        concat!(
            r#"{{"code":"{code}","url":"https://shop.example.com/view/{code}?creator=c_1","kind":"product","#,
            r#""creator":"c_1","creator_type":"affiliate","seller":"s_1","product":"p_1","plan":"open","#,
            r#""rate_bp":1200,"test":true}}"#
        ),
        code = code
    )
}

/// The real process, its directory and its ports.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// The links are those of `links.jsonl`, not of the catalog.
    has_links_file: bool,
    /// The configuration sets `edge.listen`, so that no `--listen` is passed.
    own_listen: bool,
    /// A listening socket that is passed as a service manager does, and its name.
    handed: Option<(OwnedFd, String)>,
    /// Commands that a shell runs before it becomes the process.
    under: Option<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    /// While it is set, nobody reads the standard error stream.
    is_log_unread: Arc<AtomicBool>,
}

impl Site {
    /// A site with these links that is not started yet. One worker, unless told otherwise.
    pub(crate) fn new(links: &[String]) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site {
            dir,
            args: Vec::new(),
            env: Vec::new(),
            has_links_file: true,
            own_listen: false,
            handed: None,
            under: None,
            running: None,
        };
        site.write("links.jsonl", &(links.join("\n") + "\n"));
        site.env("WAYPOST__EDGE__WORKERS", "1")
            // A test directory is small and short-lived: nothing here needs 64 MiB a lane.
            .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
    }

    /// A site whose links are those of its catalog.
    pub(crate) fn without_links_file() -> Site {
        let mut site = Site::new(&[]);
        site.has_links_file = false;
        site
    }

    /// A started site with these codes, all live.
    pub(crate) fn with_codes(codes: &[&str]) -> Site {
        Site::new(&codes.iter().map(|code| link(code)).collect::<Vec<_>>()).start()
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Site {
        self.env.retain(|(known, _)| known != key);
        self.env.push((key.into(), value.into()));
        self
    }

    /// Takes a variable away again, such as one that [`Site::new`] sets.
    pub(crate) fn without_env(mut self, key: &str) -> Site {
        self.env.retain(|(known, _)| known != key);
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Site {
        self.args.push(arg.into());
        self
    }

    /// Writes a configuration file and passes it.
    pub(crate) fn config(self, toml: &str) -> Site {
        self.write("waypost.toml", toml);
        let path = self.path("waypost.toml").display().to_string();
        self.arg("--config").arg(&path)
    }

    /// Serves on what is given as `edge.listen`, in TOML; port 0 for TCP. [`Site::listen`] is the first TCP address of
    /// it.
    pub(crate) fn listening(mut self, listen: &str) -> Site {
        self.own_listen = true;
        self.config(&format!("[edge]\nlisten = {listen}\n"))
    }

    /// Listens on one address with these settings, such as `http2 = true`; `more` is the rest of the configuration
    /// file.
    pub(crate) fn listening_with(mut self, settings: &str, more: &str) -> Site {
        self.own_listen = true;
        self.config(&format!("[edge]\nlisten = [{{ address = \"127.0.0.1:0\", {settings} }}]\n{more}"))
    }

    /// Passes this socket at every start, as systemd does; the test keeps it open.
    pub(crate) fn with_activation_socket(mut self, listener: &TcpListener, name: &str) -> Site {
        self.handed = Some((listener.try_clone().unwrap().into(), name.to_owned()));
        self
    }

    /// Runs this in a shell that then becomes the process, such as `ulimit -Sn 300`.
    pub(crate) fn after_shell(mut self, shell: &str) -> Site {
        self.under = Some(shell.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Replaces a file atomically, by a rename.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let fresh = self.path(&format!("{name}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    /// A `waypost` command with this site's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.args(args).envs(self.env.iter().cloned()).current_dir(self.dir.path());
        command
    }

    fn serve(&self) -> Command {
        let links = self.path("links.jsonl").display().to_string();
        let data = self.data().display().to_string();
        let mut command = self.command(&["serve", "--data-dir", &data]);
        if self.has_links_file {
            command.args(["--links", &links]);
        }
        if !self.own_listen && !self.args.iter().any(|arg| arg == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(["--admin", "127.0.0.1:0"]).args(&self.args);
        let mut first = self.under.clone().unwrap_or_default();
        if self.handed.is_some() {
            // Only the process itself knows its id before it runs; its standard input becomes descriptor 3.
            first = format!("exec 3<&0 </dev/null; export LISTEN_PID=$$; {first}");
        }
        if first.is_empty() {
            return command;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first}\nexec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(self.dir.path());
        shell.envs(self.env.iter().cloned());
        if let Some((socket, name)) = &self.handed {
            shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).stdin(socket.try_clone().unwrap());
        }
        shell
    }

    /// Starts the process and waits until it is ready.
    pub(crate) fn start(mut self) -> Site {
        self.restart();
        self
    }

    /// Starts the process again on the same directory and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        self.start_listening();
        until("readiness", || self.admin("/readyz").filter(|answer| answer.status == 200));
    }

    /// Starts the process and waits until it listens.
    pub(crate) fn start_listening(&mut self) {
        assert!(self.running.is_none(), "already running");
        let mut child = self.serve().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), child.stderr.take().unwrap());
        let is_log_unread = Arc::new(AtomicBool::new(false));
        let is_unread = is_log_unread.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
                while is_unread.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let (listen, admin) = until("the line that names the ports", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the process ended with {status}: {}", log.lock().unwrap().join("\n"));
            }
            log.lock().unwrap().iter().find_map(|line| ports(line))
        });
        self.running = Some(Running { child, listen, admin, log, is_log_unread });
    }

    /// Runs a `serve` that must end by itself. Returns the exit code and the standard error.
    pub(crate) fn run_refused_start(&self) -> (Option<i32>, String) {
        let mut child = self.serve().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            stderr.read_to_end(&mut log).unwrap();
            String::from_utf8_lossy(&log).into_owned()
        });
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the start is not refused: {}", log.join().unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        (status.code(), log.join().unwrap())
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the site runs")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running().child.id()
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.listens()[0]
    }

    /// Every TCP address that is listened on, in the order of `edge.listen`.
    pub(crate) fn listens(&self) -> &[SocketAddr] {
        &self.running().listen
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.running().admin
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.running().log.lock().unwrap().join("\n")
    }

    /// Stops reading the standard error stream of the process, or reads on.
    pub(crate) fn set_log_unread(&self, is_unread: bool) {
        self.running().is_log_unread.store(is_unread, Ordering::Relaxed);
    }

    /// Waits until a line of the log contains `text`, and returns the line.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        until(&format!("a log line with {text:?}"), || {
            self.running().log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Waits for the log line of a fault, checks its risk and its runbook page, and returns the line.
    pub(crate) fn wait_for_fault(&self, event: &str, money_at_risk: &str, runbook: &str) -> Value {
        let line = self.wait_for_log(&format!("\"event\":\"{event}\""));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["money_at_risk"], &line["runbook"]), (&money_at_risk.into(), &runbook.into()), "{line}");
        line
    }

    /// How many log lines a fault has.
    pub(crate) fn count_faults_logged(&self, event: &str) -> usize {
        self.log().matches(&format!("\"event\":\"{event}\"")).count()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().expect("the site runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end. Returns the exit code and the log.
    pub(crate) fn stop(&mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        self.wait_for_exit()
    }

    /// Waits for the end of a process that is ending. Returns the exit code and the log.
    pub(crate) fn wait_for_exit(&mut self) -> (Option<i32>, String) {
        let status = until("the end of the process", || self.running.as_mut().unwrap().child.try_wait().unwrap());
        let running = self.running.take().unwrap();
        running.is_log_unread.store(false, Ordering::Relaxed);
        // The thread that reads the log ends at the end of the pipe, and drops its reference.
        until("the end of the log", || (Arc::strong_count(&running.log) == 1).then_some(()));
        let log = running.log.lock().unwrap().join("\n");
        (status.code(), log)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.listen())
    }

    /// Sends these raw bytes on a new connection and reads one answer.
    pub(crate) fn send(&self, raw: &str) -> Answer {
        self.connect().send(raw)
    }

    /// GET with these header lines besides `Host`.
    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.send(&request("GET", path, headers))
    }

    /// A path of the admin listener; `None` if it does not answer.
    pub(crate) fn admin(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.running().admin).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        Connection { stream }.read(false)
    }

    /// The sum of a metric over its rows that contain `labels`; 0 if there is none.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.admin("/metrics").expect("metrics").text();
        let rows = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
        });
        rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Every event of a topic in the file sink, in the order of its files and lines.
    pub(crate) fn events(&self, topic: &str) -> Vec<Value> {
        events_in(&self.data().join("clicks"), topic)
    }

    /// Waits until the file sink holds `count` events of a topic.
    pub(crate) fn wait_for_events(&self, topic: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} events of {topic}"), || Some(self.events(topic)).filter(|events| events.len() >= count))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            running.is_log_unread.store(false, Ordering::Relaxed);
            if std::thread::panicking() {
                eprintln!("--- log of the process\n{}", running.log.lock().unwrap().join("\n"));
            }
        }
    }
}

/// The complete lines of a topic's files.
pub(crate) fn events_in(dir: &Path, topic: &str) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.strip_prefix(topic).is_some_and(|rest| rest.starts_with('-')) && name.ends_with(".jsonl")
        })
        .collect();
    files.sort();
    let mut events = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        events.extend(
            complete
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))),
        );
    }
    events
}

/// The ports of the line `{"event":"listening",…}`.
pub(crate) fn ports(line: &str) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    if fields.get("event")?.as_str()? != "listening" {
        return None;
    }
    let listen = fields.get("listen")?.as_str()?.split(',').filter_map(|address| address.parse().ok()).collect();
    Some((listen, fields.get("admin")?.as_str()?.parse().ok()?))
}

/// Every file below these folders, with its bytes.
pub(crate) fn files_below(folders: Vec<PathBuf>) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let mut waiting = folders;
    std::iter::from_fn(move || {
        while let Some(path) = waiting.pop() {
            if !path.is_dir() {
                let bytes = std::fs::read(&path).unwrap();
                return Some((path, bytes));
            }
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
        None
    })
}

/// A request as text.
pub(crate) fn request(method: &str, path: &str, headers: &[&str]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: go.example.com\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// Header lines of a phone's browser that follows a link: a click with them is judged as a person's.
pub(crate) const PHONE_BROWSER: [&str; 6] = [
    "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/17.6 Mobile/15E148 Safari/604.1",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: ko-KR,ko;q=0.9",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: document",
];

/// A tap on a phone, for a code, that says its number. Each number is a phone of its own: taps of one phone from one
/// address would be duplicates of each other.
pub(crate) fn numbered_tap(code: &str, number: u64) -> String {
    let agent = format!(
        "User-Agent: Mozilla/5.0 (Linux; Android 14; SM-{number}) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/126.0.0.0 Mobile Safari/537.36"
    );
    let headers = [&[&*agent], &PHONE_BROWSER[1..]].concat();
    request("GET", &format!("/{code}?sub1={number}"), &headers)
}

/// One raw connection.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Connection {
        Connection::over(TcpStream::connect(address).unwrap())
    }

    /// Over a connection that is made already.
    pub(crate) fn over(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream }
    }

    /// The socket.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn write(&mut self, raw: &str) {
        self.stream.write_all(raw.as_bytes()).unwrap();
    }

    /// Bytes that are no text. Gives whether the other side took them.
    pub(crate) fn write_bytes(&mut self, raw: &[u8]) -> bool {
        self.stream.write_all(raw).is_ok()
    }

    /// Sends and reads one answer, which must come.
    pub(crate) fn send(&mut self, raw: &str) -> Answer {
        self.write(raw);
        self.read(raw.starts_with("HEAD ")).expect("an answer")
    }

    /// Sends and reads one answer; `None` if the connection ends before the answer does.
    pub(crate) fn try_send(&mut self, raw: &str) -> Option<Answer> {
        self.stream.write_all(raw.as_bytes()).ok()?;
        self.read(raw.starts_with("HEAD "))
    }

    /// Reads one answer; `None` if the connection ends before the answer does.
    pub(crate) fn read(&mut self, head: bool) -> Option<Answer> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            bytes.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !head {
            match answer.header("content-length").and_then(|len| len.parse().ok()) {
                Some(len) => {
                    answer.body = vec![0; len];
                    self.stream.read_exact(&mut answer.body).ok()?;
                }
                None if answer.header("transfer-encoding").is_some() || status == 200 => {
                    self.stream.read_to_end(&mut answer.body).ok()?;
                }
                None => {}
            }
        }
        Some(answer)
    }

    /// Reads until the other side closes or resets the connection, and returns the bytes.
    pub(crate) fn read_until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Waits until the other side closes or sends. True if it closed.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 4096]), Ok(0) | Err(_))
    }
}

/// One answer as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In their order, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The names of all headers, sorted.
    pub(crate) fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The cookie as a browser would send it back: `name=value`.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned()
    }

    /// The URL token in the location.
    pub(crate) fn token(&self) -> Option<String> {
        let location = url::Url::parse(self.header("location")?).ok()?;
        location.query_pairs().find(|(name, _)| name == "wp").map(|(_, value)| value.into_owned())
    }
}
