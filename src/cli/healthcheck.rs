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
    cli::config_args::ConfigArgs,
    config::FlagValues,
    net::{self, tls::CertificateSet},
};

/// The flags of `healthcheck`.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    config: ConfigArgs,
    /// The admin address of the server [default: that of the configuration, 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Ask whether the process lives, not whether it is ready
    #[arg(long)]
    live: bool,
}

/// The timeout of the connect, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read; `/readyz` names a handful of conditions.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// The first byte of a TLS server's answer to plain HTTP: the type of an alert record.
const TLS_ALERT_RECORD: char = '\x15';

impl Healthcheck {
    pub(super) fn check_health_and_print_answer_or_fail(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut flags = FlagValues::default();
        flags.set("--admin", &["admin", "listen"], self.admin.clone());
        let admin = self.config.load_admin_section_alone(flags)?;
        let address = replace_unspecified_ip_by_loopback(admin.listen);
        let path = if self.live { "/livez" } else { "/readyz" };
        let answer = match admin.tls.certificate_config() {
            None => send_get_and_read_response(connect_with_timeouts(address)?, address, path)
                .with_context(|| format!("http://{address}{path}"))?,
            Some(served) => match send_get_and_read_response(
                wrap_in_tls_accepting_any_certificate_and_presenting_own(
                    connect_with_timeouts(address)?,
                    address,
                    &admin.tls,
                    &served,
                )?,
                address,
                path,
            ) {
                Ok(answer) => answer,
                // A process that answers a handshake lives. Restarting it would not help: with certificate files that
                // do not fit together it would not start.
                Err(error) if self.live && is_tls_alert(&error) => {
                    writeln!(out, "alive, but it refused the certificate of admin.tls: {error}")?;
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => return Err(error).with_context(|| format!("https://{address}{path}")),
            },
        };
        if answer.starts_with(TLS_ALERT_RECORD) {
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

/// The address to connect to: loopback if the server listens on every address.
fn replace_unspecified_ip_by_loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Connects, with [`TIMEOUT`] for every operation.
fn connect_with_timeouts(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connect = || {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        io::Result::Ok(stream)
    };
    connect().with_context(|| address.to_string())
}

/// Sends a GET request and returns head and body of the answer.
fn send_get_and_read_response(mut stream: impl Read + Write, address: SocketAddr, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Opens TLS to a server with any certificate ([`AcceptAnyCertificate`]). If the server requires client certificates,
/// this client presents the server's own certificate. If its files cannot be read, it presents none, and the server
/// answers as it does to a client without one.
fn wrap_in_tls_accepting_any_certificate_and_presenting_own(
    stream: TcpStream,
    address: SocketAddr,
    config: &admin::TlsConfig,
    served: &net::tls::Config,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)));
    let own = config.client_ca.as_ref().and_then(|_| CertificateSet::load_all_even_if_expired(served).ok());
    let client = match own.as_ref().and_then(|own| own.all().first()) {
        Some(certificate) => builder.with_client_cert_resolver(certificate.clone()),
        None => builder.with_no_client_auth(),
    };
    let session = ClientConnection::new(Arc::new(client), address.ip().into())?;
    Ok(StreamOwned::new(session, stream))
}

/// Whether the server ended the TLS session with an alert.
fn is_tls_alert(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(_)))
}

/// Accepts any certificate, as the probes of Kubernetes do: the question is whether the process at this address
/// answers. An expired certificate, or one for another host, is no reason to restart an edge.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
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
