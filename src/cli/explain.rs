//! `waypost explain`

use std::{io::Write, net::IpAddr};

use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::{
        api_client::{ApiClient, ApiPath, ServerArgs},
        config_args::ConfigArgs,
        offline_edge::{OfflineKeys, load_edge_without_server},
    },
    clock,
    config::{Config, ConfigError, ConfigErrors, FlagValues, ValueSource},
    edge::explain::{ExplainedRequest, Explainer},
};

/// Explain the answer to a request, without a record: of the links of a file, of a data directory, or of a server
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// The URL of the request, such as https://go.example.com/7Kq2ZpXa?sub1=reel
    url: String,
    /// A header of the request, such as 'User-Agent: curl/8'
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Links file, one JSON record a line [default: links.file of the configuration, else the catalog of the data
    /// directory]
    #[arg(long, value_name = "FILE")]
    links: Option<String>,
    /// The time of the request, such as 2026-11-29T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// The address of the other end of the connection, such as 203.0.113.7 [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    pub(super) fn explain_and_print(&self, out: &mut impl Write) -> Result<()> {
        let headers = self.headers.iter().map(|text| parse_header(text)).collect::<Result<Vec<_>, String>>();
        let headers = headers.map_err(|message| usage_error("-H", message))?;
        let json = match self.server.client()? {
            Some(client) => self.ask_server(&client, &headers)?,
            None => self.explain_offline(&headers)?,
        };
        if self.json {
            writeln!(out, "{json}")?;
        } else {
            let explanation = serde_json::from_str(&json).context("the explanation is no JSON")?;
            out.write_all(format_as_text(&explanation).as_bytes())?;
        }
        Ok(())
    }

    /// The explanation as JSON, of the links that a server here would serve.
    fn explain_offline(&self, headers: &[(&str, &str)]) -> Result<String> {
        let config = self.load_config()?;
        let at_ms = match self.at {
            Some(at) => u64::try_from(at.as_millisecond()).unwrap_or(0),
            None => clock::wall_ms(),
        };
        let request = ExplainedRequest::describe(&self.url, &self.method, headers.iter().copied(), at_ms);
        let request = request.map_err(|invalid| usage_error(flag_of(invalid.part), invalid.message))?;
        let request = request.from_client(self.client);
        let edge = load_edge_without_server(&config, OfflineKeys::Configured, clock::wall_ms())?;
        let explanation = Explainer::new().map_err(anyhow::Error::msg)?.explain(&edge, &request);
        serde_json::to_string(&explanation).context("cannot write the explanation")
    }

    /// The explanation as JSON, of the links that a server serves.
    fn ask_server(&self, client: &ApiClient, headers: &[(&str, &str)]) -> Result<String> {
        if self.links.is_some() {
            let message = "is a file of this machine; leave it or --server out".to_owned();
            return Err(usage_error("--links", message).into());
        }
        let body = json!({
            "url": self.url,
            "method": self.method,
            "headers": headers,
            "at": self.at.map(|at| at.to_string()),
            "client": self.client,
        });
        Ok(client.send("POST", &ApiPath::new("/v1/explain"), "application/json", body.to_string().as_bytes())?.body)
    }

    fn load_config(&self) -> Result<Config, ConfigErrors> {
        let mut flags = FlagValues::default();
        flags.set("--links", &["links", "file"], self.links.clone());
        self.config.load(flags)
    }
}

/// Name and value of `NAME: VALUE`.
fn parse_header(text: &str) -> Result<(&str, &str), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} is no header; write 'Name: value'"))?;
    Ok((name.trim(), value.trim()))
}

/// The flag that gives a part of a request.
fn flag_of(part: &str) -> &'static str {
    match part {
        "method" => "--method",
        "headers" => "-H",
        _ => "URL",
    }
}

/// An error of the command line, which ends with the exit code of bad usage.
fn usage_error(flag: &'static str, message: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { source: ValueSource::Flag(flag), key: String::new(), message }])
}

fn format_as_text(explanation: &Value) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| text += &format!("{name:<17} {value}\n");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for check in explanation["checks"].as_array().into_iter().flatten() {
        add(&word(&check["check"]), &word(&check["result"]));
    }
    let link = &explanation["link"];
    if link.is_object() {
        let domain = word(&explanation["domain"]);
        add("link", &format!("{} of {domain}, version {}", word(&link["code"]), link["version"]));
        add("link_url", &word(&link["url"]));
    }
    let answer = &explanation["answer"];
    add("status", &answer["status"].to_string());
    for header in answer["headers"].as_array().into_iter().flatten() {
        add("header", &format!("{}: {}", word(&header[0]), word(&header[1])));
    }
    match (explanation["topic"].as_str(), &explanation["event"]) {
        (Some(topic), event @ Value::Object(_)) => {
            add("topic", topic);
            add("event", &event.to_string());
        }
        _ => add("event", "none: the request makes no click"),
    }
    text
}
