//! A client of the API of a running server, for commands with `--server`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use url::Url;

/// The variable with the key.
const KEY_VARIABLE: &str = "WAYPOST_API_KEY";
/// The timeout of each read and write.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Which server a command asks, if any.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArgs {
    /// Ask this running server, such as http://127.0.0.1:9100, with the API key in WAYPOST_API_KEY; without it the
    /// command opens the data directory, which no server may hold
    #[arg(long, value_name = "URL", global = true)]
    server: Option<Url>,
    /// Certificates (PEM) by which an https server is known
    #[arg(long, value_name = "FILE", global = true, requires = "server")]
    ca: Option<PathBuf>,
}

impl ServerArgs {
    /// A client of the server; `None` if the command is to open the data directory.
    ///
    /// # Errors
    /// The address or the certificates are unusable, or there is no key.
    pub(super) fn client(&self) -> anyhow::Result<Option<ApiClient>> {
        let Some(server) = self.server.clone() else { return Ok(None) };
        let key = std::env::var(KEY_VARIABLE)
            .with_context(|| format!("{KEY_VARIABLE} is not set; put the API key into it"))?;
        let tls = match (server.scheme(), &self.ca) {
            ("http", _) => None,
            ("https", Some(ca)) => Some(client_config_trusting(ca)?),
            ("https", None) => bail!("--server {server}: an https server needs --ca FILE, its certificates"),
            _ => bail!("--server {server}: only http:// and https:// are known"),
        };
        if server.host_str().is_none() {
            bail!("--server {server}: names no host");
        }
        Ok(Some(ApiClient { server, key, tls }))
    }
}

fn client_config_trusting(ca: &PathBuf) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())? {
        roots.add(certificate.with_context(|| ca.display().to_string())?)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

/// Sends requests to one server, each on a connection of its own.
pub(super) struct ApiClient {
    server: Url,
    key: String,
    tls: Option<Arc<ClientConfig>>,
}

impl ApiClient {
    /// Sends a request with a JSON body, if there is one, and returns the JSON of the answer; `Null` if it has none.
    ///
    /// # Errors
    /// The server does not answer, or answers with a problem.
    pub(super) fn send_json(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let host = self.server.host_str().unwrap_or_default();
        let port = self.server.port_or_known_default().unwrap_or(80);
        let address = format!("{host}:{port}");
        let stream = TcpStream::connect(&address).with_context(|| address.clone())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let answer = match &self.tls {
            None => exchange(stream, &request),
            Some(config) => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                exchange(StreamOwned::new(ClientConnection::new(config.clone(), name)?, stream), &request)
            }
        };
        read_answer(&answer.with_context(|| format!("{method} {}{path}", self.server.as_str().trim_end_matches('/')))?)
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The JSON of an answer whose body ends with the connection.
fn read_answer(answer: &str) -> anyhow::Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    if !status.starts_with('2') {
        let said = body["detail"].as_str().unwrap_or_else(|| head.lines().next().unwrap_or_default());
        bail!("the server answers {status}: {said}");
    }
    Ok(body)
}
