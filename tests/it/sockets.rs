//! Listeners: several addresses, IPv6, Unix sockets, and sockets of a service manager.

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
    time::{Duration, Instant},
};

use crate::{
    dsl::{Connection, PHONE_BROWSER, Site, StopOnDrop, TIMEOUT, link, request, until},
    inject::Injected,
    need::{has_program, optional},
};

/// Sends one request over a Unix socket and returns the status line of its answer.
fn send_over_unix_socket(path: &Path, raw: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(raw.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_unix_socket_serves_beside_a_port_and_its_file_is_removed_at_the_stop() {
    let site = Site::new(&[link("tcp"), link("file"), link("proxied"), link("walked")]);
    let path = site.path("edge.sock");
    let listen =
        format!("[\"127.0.0.1:0\", {{ address = \"unix:{}\", proxy_protocol = \"optional\" }}]", path.display());
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "2").listening(&listen).start();
    assert_eq!(site.get("/tcp", &[]).status, 302);
    assert_eq!(send_over_unix_socket(&path, &request("GET", "/file", &[])), "HTTP/1.1 302 Found");
    // A peer that may open the file is trusted like a proxy.
    let proxied = format!("PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n{}", request("GET", "/proxied", &[]));
    assert_eq!(send_over_unix_socket(&path, &proxied), "HTTP/1.1 302 Found");
    assert_eq!(
        send_over_unix_socket(&path, &request("GET", "/walked", &["X-Forwarded-For: 6.6.6.6, 203.0.113.8"])),
        "HTTP/1.1 302 Found"
    );
    let events = site.wait_for_events("clicks", 4);
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

    // A killed process leaves its file; the next one replaces it.
    site.restart();
    site.kill();
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    site.restart();
    assert_eq!(send_over_unix_socket(&path, &request("GET", "/file", &[])), "HTTP/1.1 302 Found");
}

#[test]
fn a_unix_socket_in_use_and_a_file_that_is_no_socket_are_left_as_they_are() {
    let site = Site::new(&[link("live")]);
    let path = site.path("edge.sock");
    let other_process = UnixListener::bind(&path).unwrap();
    let site = site.listening(&format!("\"unix:{}\"", path.display()));
    let (code, output) = site.run_refused_start();
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("edge.sock") && output.contains("another process listens there"), "{output}");
    assert!(UnixStream::connect(&path).is_ok());
    drop(other_process);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "an operator's notes").unwrap();
    assert_eq!(site.run_refused_start().0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "an operator's notes");
}

#[test]
fn an_ipv6_listener_serves_and_the_event_has_the_ipv6_address() {
    if optional("::1", TcpListener::bind((Ipv6Addr::LOCALHOST, 0))).is_none() {
        return;
    }
    let site = Site::new(&[link("six"), link("four")]).listening("[\"[::1]:0\", \"127.0.0.1:0\"]").start();
    let [six, four] = site.listens()[..] else { panic!("two listeners") };
    assert!(six.is_ipv6() && four.is_ipv4());
    assert_eq!(Connection::to(six).send(&request("GET", "/six", &[])).status, 302);
    assert_eq!(Connection::to(four).send(&request("GET", "/four", &[])).status, 302);
    let events = site.wait_for_events("clicks", 2);
    let six = events.iter().find(|event| event["code"] == "six").unwrap();
    assert_eq!(six["client_ip"], "::1");
}

#[test]
fn no_click_on_an_inherited_socket_fails_while_the_process_restarts_ten_times() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__WORKERS", "2")
        .listening("\"systemd:edge\"")
        .with_activation_socket(&listener, "edge")
        .start();
    let (over, clicks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let stop = StopOnDrop(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(click_once(address), "HTTP/1.1 302 Found");
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
    assert_eq!(site.wait_for_events("clicks", clicks).len(), clicks, "each answered click is recorded once");
}

/// Clicks on a new connection. Returns the status line, or the error.
fn click_once(address: SocketAddr) -> String {
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request("GET", "/live", &[&PHONE_BROWSER[..], &["Connection: close"]].concat()).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or("closed without an answer").to_owned())
    };
    attempt().unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_missing_inherited_socket_is_named_with_those_that_are_there() {
    let site = Site::new(&[link("live")]).listening("\"systemd:edge\"");
    let (code, output) = site.run_refused_start();
    assert_eq!(code, Some(1));
    assert!(output.contains("systemd:edge") && output.contains("no socket over"), "{output}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, output) = site.with_activation_socket(&listener, "other").run_refused_start();
    assert_eq!(code, Some(1));
    assert!(output.contains("systemd:edge") && output.contains("only: other"), "{output}");
}

/// The service manager's end of `NOTIFY_SOCKET`.
struct ServiceManager(UnixDatagram);

const SIGN_OF_LIFE: &str = "WATCHDOG=1";

impl ServiceManager {
    /// Sets the site up with a watchdog of half a minute. With `hidden`, the socket has an abstract name, in no
    /// directory.
    fn with_watchdog(site: Site, hidden: bool) -> (ServiceManager, Site) {
        let path = site.path("notify.sock").display().to_string();
        let (address, name) = match hidden {
            true => (UnixAddress::from_abstract_name(&path), format!("@{path}")),
            false => (UnixAddress::from_pathname(&path), path),
        };
        let socket = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
        (ServiceManager(socket), site.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "30000000"))
    }

    /// Waits for the next message.
    fn next_message(&self) -> String {
        self.0.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut buffer = [0; 256];
        let len = self.0.recv(&mut buffer).expect("a message of the process");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// Waits for the next message that is no sign of life.
    fn next_state_change(&self) -> String {
        std::iter::repeat_with(|| self.next_message()).find(|message| message != SIGN_OF_LIFE).unwrap()
    }

    /// Reloads the site and waits until its main thread reports that. Returns whether a sign of life came meanwhile.
    fn sees_sign_of_life_during_reload(&self, site: &Site) -> bool {
        site.signal("-HUP");
        let mut has_sign_of_life = false;
        loop {
            match &*self.next_message() {
                SIGN_OF_LIFE => has_sign_of_life = true,
                "READY=1" => return has_sign_of_life,
                _ => {}
            }
        }
    }
}

#[test]
fn the_service_manager_gets_messages_at_start_reload_and_stop_and_signs_of_life() {
    for hidden in [false, true] {
        let (manager, site) = ServiceManager::with_watchdog(Site::new(&[link("live")]), hidden);
        let mut site = site.start();
        assert_eq!(manager.next_state_change(), "READY=1");
        site.signal("-HUP");
        let message = manager.next_state_change();
        let since = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&message);
        assert!(since.parse::<u64>().unwrap() > 0);
        assert_eq!(manager.next_state_change(), "READY=1");
        assert_eq!(manager.next_message(), SIGN_OF_LIFE);
        assert_eq!(site.stop().0, Some(0));
        assert_eq!(manager.next_state_change(), "STOPPING=1");
    }
}

#[test]
fn one_stuck_worker_stops_the_signs_of_life_to_the_service_manager() {
    let (manager, site) =
        ServiceManager::with_watchdog(Site::new(&[link("live")]).env("WAYPOST__EDGE__WORKERS", "2"), false);
    let site = site.start();
    assert_eq!(manager.next_state_change(), "READY=1");
    assert_eq!(manager.next_message(), SIGN_OF_LIFE);
    // Its thread stops for ten minutes each time it waits for its sockets.
    let Some(stuck) = Injected::into(&site, "wp-worker-1", "?epoll_wait,?epoll_pwait:delay_enter=600000000") else {
        return;
    };
    // The main thread sends signs of life once a second. That it works all the time is shown by its reloads.
    until("three seconds of reloads without a sign of life", || {
        let start = Instant::now();
        let mut has_sign_of_life = false;
        while start.elapsed() < Duration::from_secs(3) {
            has_sign_of_life |= manager.sees_sign_of_life_during_reload(&site);
        }
        (!has_sign_of_life).then_some(())
    });
    assert_eq!(site.admin("/livez").unwrap().status, 200, "the other threads work");
    drop(stuck);
    assert_eq!(manager.next_message(), SIGN_OF_LIFE, "the signs of life come again");
}

#[test]
fn the_units_in_deploy_are_valid_for_systemd() {
    if !has_program("systemd-analyze", "--version") {
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
    let verify = Command::new("systemd-analyze").arg("verify").args(units).output().unwrap();
    let output = String::from_utf8_lossy(&verify.stderr);
    let ours: Vec<&str> = output.lines().filter(|line| line.contains("waypost.s")).collect();
    assert!(verify.status.success() && ours.is_empty(), "{output}");
}
