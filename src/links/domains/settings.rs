//! Domains as they are written in the configuration.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    links::{
        destination::{entry, query},
        domains::{Associations, ClientIp, DomainId, Gpc, MAX_HOST, OnExpired, Prefetch},
    },
    net::tls,
};

/// Hosts and their settings, as written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, Settings>);

/// One host's settings, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where an unknown code goes; else a small 404 page.
    pub not_found_url: Option<String>,
    /// Where `/` goes, and an unknown code without `not_found_url`; else `/` is a small page.
    pub root_url: Option<String>,
    /// Where a link that is not live goes if it has no `fallback_url` of its own.
    pub fallback_url: Option<String>,
    /// The way to the shop on 404 and 410 pages.
    pub shop_url: Option<String>,
    /// What an expired link without a fallback answers: `pass` or `gone`.
    pub on_expired: OnExpired,
    /// What a prefetch gets: `refuse` or `redirect`.
    pub prefetch: Prefetch,
    /// What `Sec-GPC: 1` changes: `unlinked`, `strict` or `ignore`.
    pub gpc: Gpc,
    /// The cookie's `Domain`, for shops that read it themselves; else the cookie is the host's own (`__Host-wp`).
    pub cookie_domain: Option<String>,
    /// The `Referrer-Policy` of redirects.
    pub referrer_policy: String,
    /// `Strict-Transport-Security` of answers over TLS, in place of `tls.hsts`; `max-age=0` takes it back.
    pub hsts: Option<String>,
    /// The name of the appended token's parameter.
    pub token_param: String,
    /// How much of the client's address a click keeps: `full`, `truncated` or `none`.
    pub client_ip: ClientIp,
    /// Whether codes are the same in upper and lower case.
    pub case_insensitive: bool,
    /// The body of `/robots.txt`. Crawlers may come, so that link previews work; answers say `noindex`.
    pub robots: String,
    /// The app that resolves this host's links. Without it no app association file is served: else the app would open
    /// and no click would reach Waypost.
    pub app_links: Option<AppLinks>,
}

/// An app that opens this host's links and asks Waypost to resolve them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppLinks {
    /// Apple application ids, `TEAMID.bundle.id`.
    pub apple: Vec<String>,
    /// Android packages.
    pub android: Vec<AndroidApp>,
}

/// An Android package and its certificates.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AndroidApp {
    /// `com.example.shop`
    pub package: String,
    /// SHA-256 fingerprints of its signing certificates, `AB:CD:…`.
    pub sha256: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            not_found_url: None,
            root_url: None,
            fallback_url: None,
            shop_url: None,
            on_expired: OnExpired::default(),
            prefetch: Prefetch::default(),
            gpc: Gpc::default(),
            cookie_domain: None,
            hsts: None,
            referrer_policy: "strict-origin-when-cross-origin".to_owned(),
            token_param: "wp".to_owned(),
            client_ip: ClientIp::default(),
            case_insensitive: false,
            robots: "User-agent: *\nDisallow:\n".to_owned(),
            app_links: None,
        }
    }
}

/// The values of `Referrer-Policy` that browsers know.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

impl Config {
    /// Every mistake, as key (relative to `domains`) and what is allowed.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        if self.0.len() > DomainId::MOST {
            mistakes.push((String::new(), format!("{} hosts; allowed are {}", self.0.len(), DomainId::MOST)));
        }
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (name, settings) in &self.0 {
            let at = |key: &str| format!("{name:?}.{key}");
            match host_of(name) {
                Ok(host) => {
                    if let Some(other) = seen.insert(host.clone(), name) {
                        mistakes.push((format!("{name:?}"), format!("is the same host as {other:?}")));
                    }
                    mistakes.extend(settings.mistakes(&host).into_iter().map(|(key, text)| (at(key), text)));
                }
                Err(message) => mistakes.push((format!("{name:?}"), message)),
            }
        }
        mistakes
    }
}

impl Settings {
    fn mistakes(&self, host: &str) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let urls = [
            ("not_found_url", &self.not_found_url),
            ("root_url", &self.root_url),
            ("fallback_url", &self.fallback_url),
            ("shop_url", &self.shop_url),
        ];
        for (key, url) in urls {
            if let Some(Err(error)) = url.as_deref().map(entry::plain_web_url) {
                mistakes.push((key, error.to_string()));
            }
        }
        if let Some(Err(message)) = self.cookie_domain.as_deref().map(|domain| cookie_domain(domain, host)) {
            mistakes.push(("cookie_domain", message));
        }
        if let Some(hsts) = self.hsts.as_deref().filter(|hsts| tls::hsts(hsts).is_none()) {
            mistakes.push(("hsts", format!("is {hsts:?}; allowed is {}", tls::HSTS_FORM)));
        }
        if !REFERRER_POLICIES.contains(&self.referrer_policy.as_str()) {
            let message = format!("is {:?}; allowed are {}", self.referrer_policy, REFERRER_POLICIES.join(", "));
            mistakes.push(("referrer_policy", message));
        }
        if !is_param_name(&self.token_param) {
            let message = format!("is {:?}; allowed are 1 to 32 letters, digits, '-', '.' and '_'", self.token_param);
            mistakes.push(("token_param", message));
        } else if query::RESERVED.iter().any(|name| self.token_param.eq_ignore_ascii_case(name)) {
            mistakes.push(("token_param", format!("is {:?}, which has its own meaning in a link", self.token_param)));
        }
        if self.robots.len() > 4096 {
            mistakes.push(("robots", format!("has {} bytes; allowed are 4096", self.robots.len())));
        }
        if let Some(Err(message)) = self.app_links.as_ref().map(AppLinks::check) {
            mistakes.push(("app_links", message));
        }
        mistakes
    }
}

fn is_param_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    matches!(name.len(), 1..=32) && name.bytes().all(plain)
}

impl AppLinks {
    fn check(&self) -> Result<(), String> {
        if self.apple.is_empty() && self.android.is_empty() {
            return Err("names no app; give apple or android, or leave app_links out".to_owned());
        }
        if let Some(id) = self.apple.iter().find(|id| !id.contains('.')) {
            return Err(format!("{id:?} is not an Apple application id (TEAMID.bundle.id)"));
        }
        if let Some(app) = self.android.iter().find(|app| app.package.is_empty() || app.sha256.is_empty()) {
            return Err(format!("the Android app {:?} needs a package and at least one sha256", app.package));
        }
        Ok(())
    }

    pub(super) fn prepare(&self) -> Associations {
        let apple = serde_json::json!({"applinks": {"details": [{"appIDs": self.apple, "components": [{"/": "/*"}]}]}});
        let android: Vec<_> = self
            .android
            .iter()
            .map(|app| {
                serde_json::json!({"relation": ["delegate_permission/common.handle_all_urls"], "target": {
                    "namespace": "android_app", "package_name": app.package, "sha256_cert_fingerprints": app.sha256}})
            })
            .collect();
        Associations {
            apple: (!self.apple.is_empty()).then(|| apple.to_string().into()),
            android: (!self.android.is_empty()).then(|| serde_json::Value::from(android).to_string().into()),
        }
    }
}

/// A host as browsers send it: lower case, punycode.
pub(super) fn host_of(name: &str) -> Result<String, String> {
    if name == "*" {
        return Ok(name.to_owned());
    }
    let host = url::Host::parse(name.trim_end_matches('.')).map_err(|error| {
        format!("is not a host name ({error}); allowed are names such as go.example.com, without port, and \"*\"")
    })?;
    match host.to_string() {
        host if host.len() <= MAX_HOST && !host.contains('*') => Ok(host),
        _ => Err("is not a host name; \"*\" stands alone, for every host that is not configured".to_owned()),
    }
}

pub(super) fn covers(domain: &str, host: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// The cookie's `Domain` in lower case and punycode: a domain above `host`, and no public suffix.
pub(super) fn cookie_domain(written: &str, host: &str) -> Result<String, String> {
    let domain = host_of(written.strip_prefix('.').unwrap_or(written))?;
    if host == "*" {
        return Err("needs a named host: browsers drop a cookie whose Domain does not cover the host".to_owned());
    }
    if !covers(&domain, host) {
        return Err(format!("{domain} does not cover {host}; browsers would drop the cookie"));
    }
    if host.parse::<std::net::IpAddr>().is_ok() || psl::domain_str(&domain).is_none() {
        return Err(format!("{domain} is a public suffix or an address; browsers would drop the cookie"));
    }
    Ok(domain)
}
