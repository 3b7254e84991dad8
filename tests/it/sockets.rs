//! What is listened on: several addresses, IPv6, the file system, and sockets that a service manager holds.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use crate::{
    dsl::{PATIENCE, Site, Stop, Wire, link, request, until},
    inject::Injected,
    need::{lent, program},
};

/// One request over a Unix socket; gives the status line.
fn ask(path: &Path, raw: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(raw.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_unix_socket_serves_beside_a_port_and_its_file_goes_with_the_process() {
    let site = Site::new(&[link("tcp"), link("file"), link("proxied"), link("walked")]);
    let path = site.path("edge.sock");
    let listen =
        format!("[\"127.0.0.1:0\", {{ address = \"unix:{}\", proxy_protocol = \"optional\" }}]", path.display());
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "2").listening(&listen).start();
    assert_eq!(site.get("/tcp", &[]).status, 302);
    assert_eq!(ask(&path, &request("GET", "/file", &[])), "HTTP/1.1 302 Found");
    // Who may open the file is trusted as a proxy is.
    let proxied = format!("PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n{}", request("GET", "/proxied", &[]));
    assert_eq!(ask(&path, &proxied), "HTTP/1.1 302 Found");
    assert_eq!(
        ask(&path, &request("GET", "/walked", &["X-Forwarded-For: 6.6.6.6, 203.0.113.8"])),
        "HTTP/1.1 302 Found"
    );
    let events = site.events_until("clicks", 4);
    let of = |code: &str| {
        let event = events.iter().find(|event| event["code"] == code).unwrap();
        (event["client_ip"].as_str().unwrap(), event["client_ip_from"].as_str().unwrap())
    };
    assert_eq!(of("file"), ("127.0.0.1", "peer"));
    assert_eq!(of("proxied"), ("203.0.113.7", "proxy"));
    assert_eq!(of("walked"), ("203.0.113.8", "xff"));

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}");
    site.stop();
    assert!(!path.exists());

    // A killed process leaves its file; the next one takes it over.
    site.restart();
    site.kill();
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    site.restart();
    assert_eq!(ask(&path, &request("GET", "/file", &[])), "HTTP/1.1 302 Found");
}

#[test]
fn a_unix_socket_on_which_somebody_listens_is_not_taken_away_nor_is_a_file_that_is_none() {
    let site = Site::new(&[link("live")]);
    let path = site.path("edge.sock");
    let somebody = UnixListener::bind(&path).unwrap();
    let site = site.listening(&format!("\"unix:{}\"", path.display()));
    let (code, said) = site.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("edge.sock") && said.contains("another process listens there"), "{said}");
    assert!(UnixStream::connect(&path).is_ok());
    drop(somebody);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "an operator's notes").unwrap();
    assert_eq!(site.refused().0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "an operator's notes");
}

#[test]
fn ipv6_serves_and_the_event_has_its_address() {
    if lent("::1", TcpListener::bind((Ipv6Addr::LOCALHOST, 0))).is_none() {
        return;
    }
    let site = Site::new(&[link("six"), link("four")]).listening("[\"[::1]:0\", \"127.0.0.1:0\"]").start();
    let [six, four] = site.listens()[..] else { panic!("two listeners") };
    assert!(six.is_ipv6() && four.is_ipv4());
    assert_eq!(Wire::to(six).send(&request("GET", "/six", &[])).status, 302);
    assert_eq!(Wire::to(four).send(&request("GET", "/four", &[])).status, 302);
    let events = site.events_until("clicks", 2);
    let six = events.iter().find(|event| event["code"] == "six").unwrap();
    assert_eq!(six["client_ip"], "::1");
}

#[test]
fn a_client_that_connects_for_each_click_sees_no_error_while_the_process_restarts_ten_times() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__WORKERS", "2")
        .listening("\"systemd:edge\"")
        .handed(&listener, "edge")
        .start();
    let (over, clicks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let stop = Stop(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(click(address), "HTTP/1.1 302 Found");
                    clicks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for restart in 0..10 {
            let before = clicks.load(Ordering::Relaxed);
            until("clicks between two restarts", || (clicks.load(Ordering::Relaxed) > before + 20).then_some(()));
            assert_eq!(site.stop().0, Some(0), "restart {restart}");
            site.restart();
        }
        drop(stop);
    });
    let clicks = clicks.into_inner();
    assert!(clicks > 200);
    assert_eq!(site.events_until("clicks", clicks).len(), clicks, "each answered click is there once");
}

/// One click on a connection of its own: the status line, or what went wrong.
fn click(address: SocketAddr) -> String {
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request("GET", "/live", &["Connection: close"]).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or("closed without an answer").to_owned())
    };
    attempt().unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_socket_that_was_not_handed_over_is_named_with_those_that_were() {
    let site = Site::new(&[link("live")]).listening("\"systemd:edge\"");
    let (code, said) = site.refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("systemd:edge") && said.contains("no socket over"), "{said}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = site.handed(&listener, "other").refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("systemd:edge") && said.contains("only: other"), "{said}");
}

/// Plays the service manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

const LIFE: &str = "WATCHDOG=1";

impl Manager {
    /// With a watchdog of half a minute, for a site that is not started yet; the socket's name is in no directory where `hidden`.
    fn of(site: Site, hidden: bool) -> (Manager, Site) {
        let path = site.path("notify.sock").display().to_string();
        let (address, name) = match hidden {
            true => (UnixAddress::from_abstract_name(&path), format!("@{path}")),
            false => (UnixAddress::from_pathname(&path), path),
        };
        let socket = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
        (Manager(socket), site.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "30000000"))
    }

    /// The next word, if one comes within this time.
    fn within(&self, time: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; 256];
        let len = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    fn told(&self) -> String {
        self.within(PATIENCE).expect("a word from the process")
    }

    /// The next word that is no sign of life.
    fn news(&self) -> String {
        std::iter::repeat_with(|| self.told()).find(|word| word != LIFE).unwrap()
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_life_and_stop() {
    for hidden in [false, true] {
        let (manager, site) = Manager::of(Site::new(&[link("live")]), hidden);
        let mut site = site.start();
        assert_eq!(manager.news(), "READY=1");
        site.signal("-HUP");
        let word = manager.news();
        let since = word.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&word);
        assert!(since.parse::<u64>().unwrap() > 0);
        assert_eq!(manager.news(), "READY=1");
        assert_eq!(manager.told(), LIFE);
        assert_eq!(site.stop().0, Some(0));
        assert_eq!(manager.news(), "STOPPING=1");
    }
}

#[test]
fn one_worker_that_is_stuck_keeps_the_sign_of_life_from_the_service_manager() {
    let (manager, site) = Manager::of(Site::new(&[link("live")]).env("WAYPOST__EDGE__WORKERS", "2"), false);
    let site = site.start();
    assert_eq!(manager.news(), "READY=1");
    assert_eq!(manager.told(), LIFE);
    // Ten minutes before it may wait for its sockets, or for its next tick.
    let Some(stuck) = Injected::into(&site, "wp-worker-1", "?epoll_wait,?epoll_pwait:delay_enter=600000000") else {
        return;
    };
    // The last looks before it stuck; the main thread looks once a second.
    until("silence", || manager.within(Duration::from_millis(3500)).is_none().then_some(()));
    assert_eq!(site.admin("/livez").unwrap().status, 200, "the other threads go on");
    drop(stuck);
    assert_eq!(manager.told(), LIFE, "it goes on as before");
}

#[test]
fn the_units_are_good_to_systemd() {
    if !program("systemd-analyze", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for unit in ["waypost.service", "waypost.socket"] {
        let text = std::fs::read_to_string(deploy.join(unit)).unwrap();
        std::fs::write(dir.path().join(unit), text.replace("/usr/local/bin/waypost", env!("CARGO_BIN_EXE_waypost")))
            .unwrap();
    }
    let units = ["waypost.service", "waypost.socket"].map(|unit| dir.path().join(unit));
    let output = Command::new("systemd-analyze").arg("verify").args(units).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("waypost.s")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
