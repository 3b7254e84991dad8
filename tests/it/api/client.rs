//! A site whose links are those of its catalog, with an API key, and requests to its API.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
};

use serde_json::{Value, json};

use super::schema::check_answer;
use crate::dsl::{Answer, Connection, Site};

/// A started site with a key of the scopes read, write and admin.
pub(crate) struct ApiSite {
    pub(crate) site: Site,
    pub(crate) key: String,
}

impl ApiSite {
    pub(crate) fn start() -> ApiSite {
        ApiSite::start_of(Site::without_links_file())
    }

    pub(crate) fn start_of(site: Site) -> ApiSite {
        let key = new_key(&site, &["--name", "test", "--scope", "read,write,admin"]);
        ApiSite { site: site.start(), key }
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: &str, target: &str) -> ApiRequest {
        let headers = vec![format!("Authorization: Bearer {}", self.key)];
        ApiRequest {
            address: self.site.admin_address(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: None,
        }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send()
    }

    pub(crate) fn get_json(&self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) fn post_link(&self, record: Value) -> Answer {
        self.request("POST", "/v1/links").json(&record).send()
    }

    pub(crate) fn put_link(&self, code: &str, record: Value) -> Answer {
        self.request("PUT", &format!("/v1/links/*/{code}")).json(&record).send()
    }

    /// Sends lines to `/v1/bulk` and gives the status and the lines of the answer.
    pub(crate) fn bulk(&self, parameters: &str, lines: &[String]) -> (u16, Vec<Value>) {
        let request = self.request("POST", &format!("/v1/bulk?{parameters}"));
        let answer = request.typed("application/x-ndjson", lines.join("\n").into_bytes()).send();
        (answer.status, ndjson(&answer))
    }
}

/// Makes a key in the data directory of a site that does not run.
pub(crate) fn new_key(site: &Site, args: &[&str]) -> String {
    let data = site.data().display().to_string();
    let mut command: Command = site.command(&["api-keys", "new", "--data-dir", &data]);
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A record that is allowed.
pub(crate) fn plain(url: &str) -> Value {
    json!({"url": url, "kind": "plain", "created_at": "2026-11-01T00:00:00Z"})
}

/// The lines of an answer.
pub(crate) fn ndjson(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The JSON of an answer.
pub(crate) fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// A request that is not sent yet.
#[derive(Clone)]
pub(crate) struct ApiRequest {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
}

impl ApiRequest {
    pub(crate) fn header(mut self, line: &str) -> ApiRequest {
        self.headers.push(line.to_owned());
        self
    }

    /// Without a key, or with another one.
    pub(crate) fn authorization(mut self, value: Option<&str>) -> ApiRequest {
        self.headers.retain(|line| !line.starts_with("Authorization"));
        self.headers.extend(value.map(|value| format!("Authorization: {value}")));
        self
    }

    pub(crate) fn json(self, body: &Value) -> ApiRequest {
        self.typed("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn typed(mut self, media_type: &str, body: Vec<u8>) -> ApiRequest {
        self.headers.push(format!("Content-Type: {media_type}"));
        self.body = Some(body);
        self
    }

    fn head(&self) -> String {
        let headers: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}", self.method, self.target)
    }

    /// Sends the head alone, with the length of a body that the caller sends.
    pub(crate) fn open(&self, length: usize) -> Connection {
        let mut connection = Connection::over(TcpStream::connect(self.address).unwrap());
        connection.write(&format!("{}Content-Length: {length}\r\n\r\n", self.head()));
        connection
    }

    /// Sends it, and checks the answer by the OpenAPI file.
    pub(crate) fn send(&self) -> Answer {
        let answer = self.try_send().expect("an answer");
        check_answer(&self.method, &self.target, &answer);
        answer
    }

    /// Sends it; `None` if the connection ends before the answer does.
    pub(crate) fn try_send(&self) -> Option<Answer> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut connection = self.open(body.len());
        if !connection.write_bytes(body) {
            return None;
        }
        self.read_answer(&mut connection)
    }

    /// Reads the answer of a connection.
    pub(crate) fn read_answer(&self, connection: &mut Connection) -> Option<Answer> {
        let mut answer = connection.read(self.method == "HEAD")?;
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = decode_chunks(&answer.body)?;
        }
        Some(answer)
    }
}

/// The body of chunks; `None` if the last one is missing.
fn decode_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let length = usize::from_str_radix(str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        let data = bytes.get(end + 2..end + 2 + length)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(data);
        bytes = bytes.get(end + 4 + length..)?;
    }
}
