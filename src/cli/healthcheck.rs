//! `waypost healthcheck`: for containers whose image has no curl.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    admin,
    cli::ConfigFile,
    config::Flags,
    net::{self, tls::certificates::Certificates},
};

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

/// How a TLS server's answer to plain HTTP begins: a record that is an alert.
const ALERT: char = '\x15';

impl Healthcheck {
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut flags = Flags::default();
        flags.set("--admin", &["admin", "listen"], self.admin.clone());
        let admin = self.file.gather(flags)?.admin;
        let address = reachable(admin.listen);
        let path = if self.live { "/livez" } else { "/readyz" };
        let answer = match admin.tls.shown() {
            None => ask(connect(address)?, address, path).with_context(|| format!("http://{address}{path}"))?,
            Some(shown) => match ask(tls(connect(address)?, address, &admin.tls, &shown)?, address, path) {
                Ok(answer) => answer,
                // Whoever answers a handshake lives; only what has died is to be started anew, and with a pair of files that do
                // not fit it would not start.
                Err(error) if self.live && refused(&error) => {
                    writeln!(out, "alive, but it did not take the certificate of admin.tls: {error}")?;
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => return Err(error).with_context(|| format!("https://{address}{path}")),
            },
        };
        if answer.starts_with(ALERT) {
            bail!("{address} speaks TLS; give healthcheck the configuration that has [admin.tls]");
        }
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

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connect = || {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        io::Result::Ok(stream)
    };
    connect().with_context(|| address.to_string())
}

fn ask(mut stream: impl Read + Write, address: SocketAddr, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// TLS that believes whoever answers ([`Anyone`]) and, where clients must have a certificate, shows the listener's own, which it takes.
/// A pair that cannot be read is not shown: what is served then may be an older one, and the server says what it thinks of a client
/// without.
fn tls(
    stream: TcpStream,
    address: SocketAddr,
    config: &admin::tls::Config,
    shown: &net::tls::Config,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let own = config.client_ca.as_ref().and_then(|_| Certificates::open(shown).ok());
    let client = match own.as_ref().and_then(|own| own.pairs().first()) {
        Some(pair) => builder.with_client_cert_resolver(pair.clone()),
        None => builder.with_no_client_auth(),
    };
    let session = ClientConnection::new(Arc::new(client), address.ip().into())?;
    Ok(StreamOwned::new(session, stream))
}

/// Whether the other side ended the TLS session and said why.
fn refused(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(_)))
}

/// Takes any certificate, as Kubernetes' own probes do: what is asked is whether the process at this address answers. One that has
/// expired, or that names another host than loopback, must not be why an edge is started anew.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
