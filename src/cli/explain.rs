//! `waypost explain`

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use jiff::Timestamp;

use crate::{
    cli::{
        config_args::ConfigArgs,
        offline_edge::{OfflineKeys, load_edge_without_server},
    },
    clock,
    config::{Config, ConfigError, ConfigErrors, FlagValues, ValueSource},
    edge::explain::{ExplainedRequest, Explainer, Explanation},
};

/// Explain the answer to a request, without a server and without a record
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL of the request, such as https://go.example.com/7Kq2ZpXa?sub1=reel
    url: String,
    /// A header of the request, such as 'User-Agent: curl/8'
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Links file, one JSON record a line
    #[arg(long, value_name = "FILE")]
    links: Option<String>,
    /// The time of the request, such as 2026-11-29T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    pub(super) fn explain_and_print(&self, out: &mut impl Write) -> Result<()> {
        let config = self.load_config()?;
        let request = self.build_request().map_err(|message| usage_error("URL", message))?;
        let at_ms = match self.at {
            Some(at) => u64::try_from(at.as_millisecond()).unwrap_or(0),
            None => clock::wall_ms(),
        };
        let edge = load_edge_without_server(&config, OfflineKeys::Configured, clock::wall_ms())?;
        let is_https = self.url.starts_with("https:");
        let explained = ExplainedRequest { request, at_ms, is_https };
        let explanation = Explainer::new().map_err(anyhow::Error::msg)?.explain(&edge, &explained);
        if self.json {
            serde_json::to_writer(&mut *out, &explanation).context("cannot write the explanation")?;
            writeln!(out)?;
        } else {
            out.write_all(format_as_text(&explanation).as_bytes())?;
        }
        Ok(())
    }

    fn load_config(&self) -> Result<Config, ConfigErrors> {
        let mut flags = FlagValues::default();
        flags.set("--links", &["links", "file"], self.links.clone());
        self.config.load(flags)
    }

    fn build_request(&self) -> Result<Request<()>, String> {
        let uri: Uri = self.url.parse().map_err(|error| format!("{:?} is no URL: {error}", self.url))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let (Some(authority), true) = (uri.authority(), is_web) else {
            return Err(format!("{:?} is no URL of http or https; write https://HOST/CODE", self.url));
        };
        let method: Method = self.method.parse().map_err(|_| format!("{:?} is no method", self.method))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder().method(method).uri(target).body(()).map_err(|error| error.to_string())?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        for text in &self.headers {
            let (name, value) = parse_header(text)?;
            if name == header::HOST {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        Ok(request)
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let form = || format!("{text:?} is no header; write 'Name: value'");
    let (name, value) = text.split_once(':').ok_or_else(form)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| form())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| form())?;
    Ok((name, value))
}

/// An error of the command line, which ends with the exit code of bad usage.
fn usage_error(flag: &'static str, message: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { source: ValueSource::Flag(flag), key: String::new(), message }])
}

fn format_as_text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| text += &format!("{name:<17} {value}\n");
    for check in &explanation.checks {
        add(check.check, &check.result);
    }
    if let Some(link) = &explanation.link {
        add(
            "link",
            &format!(
                "{} of {}, version {}",
                link.code,
                explanation.domain.as_deref().unwrap_or_default(),
                link.version
            ),
        );
        add("link_url", &link.url);
    }
    add("status", &explanation.answer.status.to_string());
    for (name, value) in &explanation.answer.headers {
        add("header", &format!("{name}: {value}"));
    }
    match (&explanation.topic, &explanation.event) {
        (Some(topic), Some(event)) => {
            add("topic", topic);
            add("event", &event.to_string());
        }
        _ => add("event", "none: the request makes no click"),
    }
    text
}
