//! `waypost healthcheck`: for containers whose image has no curl.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{cli::ConfigFile, config::Flags};

/// Where to ask, and what.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    file: ConfigFile,
    /// The admin address of the server [default: that of the configuration, 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Ask whether the process lives, not whether it is ready
    #[arg(long)]
    live: bool,
}

/// For the connection, and for each read of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer read; `/readyz` names a handful of conditions.
const LONGEST: u64 = 64 << 10;

impl Healthcheck {
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut flags = Flags::default();
        flags.set("--admin", &["admin", "listen"], self.admin.clone());
        let address = reachable(self.file.gather(flags)?.admin.listen);
        let path = if self.live { "/livez" } else { "/readyz" };
        let answer = ask(address, path).with_context(|| format!("http://{address}{path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.starts_with("HTTP/1.1 200") {
            writeln!(out, "{}", body.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        bail!("{}: {}", head.lines().next().unwrap_or("no answer"), body.trim_end().replace('\n', ", "));
    }
}

/// A server that listens on every address is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}
