//! A GET over HTTP/2, on a connection of its own.

use http::{HeaderValue, Request};

use crate::dsl::{Answer, Site};

/// The answer to a GET over HTTP/2 without TLS. A header line is `Name: value`; its value may be any bytes that HTTP
/// allows.
pub(crate) fn get_over_http2(site: &Site, target: &str, header_lines: &[&[u8]]) -> Answer {
    let mut request = Request::get(format!("http://go.example.com{target}"));
    for line in header_lines {
        let at = memchr::memmem::find(line, b": ").expect("a header line");
        request = request.header(&line[..at], HeaderValue::from_bytes(&line[at + 2..]).unwrap());
    }
    let request = request.body(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(site.listen()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        let text = |(name, value): (&http::HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Answer { status: head.status.as_u16(), headers: head.headers.iter().map(text).collect(), body: bytes }
    })
}
