//! A client of the API of a running server, for commands with `--server`.

mod answer;
mod path;
mod problem;

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

pub(super) use self::{answer::ApiAnswer, path::ApiPath, problem::ServerProblem};

/// The variable with the key.
const KEY_VARIABLE: &str = "WAYPOST_API_KEY";
/// The timeout of each read and write. A dry run over all links answers only at its end.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// How often a request is sent to a server that has no room for it.
const ATTEMPTS: u32 = 5;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Which server a command asks, if any.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArgs {
    /// Ask this running server, such as http://127.0.0.1:9100, with the API key in WAYPOST_API_KEY or --key-file;
    /// without it the command opens the data directory, which no server may hold
    #[arg(long, value_name = "URL", global = true)]
    server: Option<Url>,
    /// The file with the API key, in place of WAYPOST_API_KEY
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,
    /// Certificates (PEM) by which an https server is known
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
}

impl ServerArgs {
    /// A client of the server; `None` if the command is to open the data directory.
    ///
    /// # Errors
    /// The address or the certificates are unusable, or there is no key.
    pub(super) fn client(&self) -> anyhow::Result<Option<ApiClient>> {
        let Some(server) = self.server.clone() else {
            if self.key_file.is_some() || self.ca.is_some() {
                bail!("--key-file and --ca are for a server: name it by --server URL");
            }
            return Ok(None);
        };
        let key = self.read_key()?;
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

    /// Whether a server is to be asked.
    pub(super) const fn is_given(&self) -> bool {
        self.server.is_some()
    }

    fn read_key(&self) -> anyhow::Result<String> {
        let (key, place) = match &self.key_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                (text.with_context(|| format!("--key-file {}", path.display()))?, path.display().to_string())
            }
            None => {
                let key = std::env::var(KEY_VARIABLE);
                let hint = || format!("{KEY_VARIABLE} is not set; put the API key into it, or name a --key-file");
                (key.with_context(hint)?, KEY_VARIABLE.to_owned())
            }
        };
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{place}: holds no API key; `waypost api-keys new` prints one, such as wpk_…");
        }
        Ok(key.to_owned())
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
    /// The server does not answer, or answers with a problem ([`ServerProblem`]).
    pub(super) fn send_json(&self, method: &str, path: &ApiPath, body: Option<&Value>) -> anyhow::Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.send(method, path, "application/json", body.as_bytes())?;
        Ok(serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// Reads what is at a path.
    ///
    /// # Errors
    /// As [`ApiClient::send_json`].
    pub(super) fn get(&self, path: &ApiPath) -> anyhow::Result<ApiAnswer> {
        self.send("GET", path, "application/json", b"")
    }

    /// Sends a request with a JSON text a line.
    ///
    /// # Errors
    /// As [`ApiClient::send_json`].
    pub(super) fn post_lines(&self, path: &ApiPath, lines: &str) -> anyhow::Result<ApiAnswer> {
        self.send("POST", path, "application/x-ndjson", lines.as_bytes())
    }

    /// Sends a request, again if the server has no room for it: then nothing of it was done.
    ///
    /// # Errors
    /// As [`ApiClient::send_json`].
    pub(super) fn send(
        &self,
        method: &str,
        path: &ApiPath,
        media_type: &str,
        body: &[u8],
    ) -> anyhow::Result<ApiAnswer> {
        let mut attempt = 1;
        loop {
            let sent = self.send_once(method, path, media_type, body);
            let base = self.server.as_str().trim_end_matches('/');
            let answer = sent.with_context(|| format!("{method} {base}{path}"))?;
            if answer.status / 100 == 2 {
                return Ok(answer);
            }
            let problem = ServerProblem::of_answer(&answer);
            if answer.status != 503 || problem.kind == "too-slow" || attempt == ATTEMPTS {
                return Err(problem.into());
            }
            std::thread::sleep(answer.retry_after.unwrap_or(Duration::from_secs(1)).min(MAX_PAUSE));
            attempt += 1;
        }
    }

    fn send_once(&self, method: &str, path: &ApiPath, media_type: &str, body: &[u8]) -> anyhow::Result<ApiAnswer> {
        let host = self.server.host_str().unwrap_or_default();
        let port = self.server.port_or_known_default().unwrap_or(80);
        let address = format!("{host}:{port}");
        let stream = TcpStream::connect(&address).with_context(|| address.clone())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let answer = match &self.tls {
            None => exchange(stream, &request),
            Some(config) => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                exchange(StreamOwned::new(ClientConnection::new(config.clone(), name)?, stream), &request)
            }
        };
        ApiAnswer::parse(&answer?)
    }
}

/// Sends the request and reads until the server closes the connection.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> std::io::Result<Vec<u8>> {
    // A server that refuses a request answers before it has read the whole body.
    let written = stream.write_all(request);
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
    if answer.is_empty() {
        written?;
        read?;
    }
    Ok(answer)
}
