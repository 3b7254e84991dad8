//! `[domains."host"]` as the configuration writes it, and its rules.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    invalid_value::InvalidValue,
    links::{
        destination::policy::{self, DestinationPolicy},
        domains::{
            app_links::AppLinks,
            choices::{ClientIp, Gpc, InApp, OnExpired, Prefetch, UnknownHosts},
            default_targets::{DefaultTargets, WrittenTargets},
            domain_url::DomainUrl,
            host::{is_same_or_subdomain, parse_host_or_asterisk},
            loops::{DomainRedirects, list_redirects_in_circles},
            param_name::is_param_name,
            sub_names::SubNames,
        },
        routes::{self, RouteSettings},
    },
    model::link_parameter::LinkParameter,
    net::tls,
};

/// The most hosts that can be configured beside `*`.
pub(super) const MAX_DOMAINS: usize = (1 << 15) - 1;

/// Hosts and their settings, as written; and the rules for the destinations of their targets, which `links` has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, Settings>, #[serde(skip)] Option<DestinationPolicy>);

/// One host's settings, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The redirect for an unknown code; without it the answer is a small 404 page.
    pub not_found_url: Option<String>,
    /// The redirect for `/`, and for an unknown code without `not_found_url`; without it `/` is a small page.
    pub root_url: Option<String>,
    /// The redirect for a link that is not live and has no `fallback_url` of its own.
    pub fallback_url: Option<String>,
    /// The URL of the shop, linked on 404 and 410 pages.
    pub shop_url: Option<String>,
    /// The answer to an expired link without a fallback: `pass` or `gone`.
    pub on_expired: OnExpired,
    /// The answer to a prefetch: `refuse` or `redirect`.
    pub prefetch: Prefetch,
    /// The effect of `Sec-GPC: 1`: `unlinked`, `strict` or `ignore`.
    pub gpc: Gpc,
    /// The cookie's `Domain`, for shops that read it themselves; else the cookie is the host's own (`__Host-wp`).
    pub cookie_domain: Option<String>,
    /// The `Referrer-Policy` of redirects.
    pub referrer_policy: String,
    /// `Strict-Transport-Security` of answers over TLS, in place of `tls.hsts`; `max-age=0` revokes it.
    pub hsts: Option<String>,
    /// The name of the appended token's parameter.
    pub token_param: String,
    /// How much of the client's address a click keeps: `full`, `truncated` or `none`.
    pub client_ip: ClientIp,
    /// Whether codes ignore case.
    pub case_insensitive: bool,
    /// The body of `/robots.txt`. Crawlers are allowed by default, so that link previews work; answers have `noindex`.
    pub robots: String,
    /// Whether an app may ask for a click as JSON. By default, if `app_links` names an app.
    pub app_resolves: Option<bool>,
    /// The origins of web views whose scripts may read that JSON, such as `https://m.shop.example.com`.
    pub app_origins: Vec<String>,
    /// The app that resolves this host's links. Without it no app association file is served: the app would open and no
    /// click would reach Waypost.
    pub app_links: Option<AppLinks>,
    /// Whether `/CODE+` shows a page about the link instead of following it.
    pub info_page: bool,
    /// The answer to a tap in an app's own browser: `redirect` or `open_outside`.
    pub in_app: InApp,
    /// Where clicks on links without `targets` of their own end that meet conditions, in the order in which they are
    /// tried.
    pub targets: Vec<Value>,
    /// The split of the host's visitors into variants, which `targets` ask for.
    pub split: Vec<Value>,
    /// The name of the parameter with the URL of the next hop.
    pub next_hop_param: String,
    /// Whether a next hop is followed that is signed by a key of the server, whatever the link lists.
    pub next_hop_signed: bool,
    /// The names of `sub1`, `sub2` and so on in requests for this host, as an old tracker named them.
    pub sub_names: Vec<String>,
    /// Of `*` alone: whether hosts that are not configured are served.
    pub unknown_hosts: UnknownHosts,
    /// The routes of this host. They are written as `[[routes]]`.
    #[serde(skip)]
    pub routes: Vec<RouteSettings>,
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
            app_resolves: None,
            app_origins: Vec::new(),
            app_links: None,
            info_page: true,
            in_app: InApp::default(),
            targets: Vec::new(),
            split: Vec::new(),
            next_hop_param: "url".to_owned(),
            next_hop_signed: false,
            sub_names: Vec::new(),
            unknown_hosts: UnknownHosts::default(),
            routes: Vec::new(),
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
    /// These hosts, without rules for the destinations of their targets.
    pub fn of_hosts(hosts: BTreeMap<String, Settings>) -> Config {
        Config(hosts, None)
    }

    /// Gives each host its routes. A host that only routes name is a configured host with default settings. A route of
    /// a host that is no name is left out; its error is one of the section `routes`.
    pub fn add_routes(&mut self, routes: &routes::Config) {
        for route in routes.0.values() {
            let Ok(host) = parse_host_or_asterisk(&route.domain) else { continue };
            let is_host = |name: &&String| parse_host_or_asterisk(name).is_ok_and(|known| known == host);
            let written = self.0.keys().find(is_host).cloned();
            self.0.entry(written.unwrap_or(host)).or_default().routes.push(route.clone());
        }
    }

    /// Gives the targets of hosts the rules that destinations of links have.
    pub fn set_destination_policy(&mut self, policy: DestinationPolicy) {
        self.1 = Some(policy);
    }

    /// The rules for the destinations of targets.
    pub(super) fn destination_policy(&self) -> DestinationPolicy {
        self.1.clone().unwrap_or_default()
    }

    /// Every error of the hosts' targets, as [`Config::list_invalid_values`] lists errors; none before
    /// [`Config::set_destination_policy`].
    pub fn list_invalid_targets(&self) -> Vec<InvalidValue> {
        let Some(policy) = &self.1 else { return Vec::new() };
        let mut errors = Vec::new();
        for (name, settings) in &self.0 {
            let Ok(host) = parse_host_or_asterisk(name) else { continue };
            let is_own_host = |host: &str| self.names(host);
            let wrong = DefaultTargets::list_invalid_values(settings.written_targets(&host, policy), &is_own_host);
            errors.extend(wrong.into_iter().map(|value| value.below(&format!("{name:?}"))));
        }
        errors
    }

    /// Whether it has this host, which is in lower case and punycode, or `*`.
    pub fn names(&self, host: &str) -> bool {
        self.0.contains_key(host)
            || self.0.keys().any(|name| parse_host_or_asterisk(name).is_ok_and(|name| name == host))
    }

    /// Every error, as a key (relative to `domains`) and a message that says what is allowed.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if self.0.len() > MAX_DOMAINS {
            errors.push(InvalidValue::new("", format!("{} hosts; allowed are {}", self.0.len(), MAX_DOMAINS)));
        }
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (name, settings) in &self.0 {
            match parse_host_or_asterisk(name) {
                Ok(host) => {
                    if let Some(other) = seen.insert(host.clone(), name) {
                        errors.push(InvalidValue::new(format!("{name:?}"), format!("is the same host as {other:?}")));
                    }
                    errors.extend(
                        settings.list_invalid_values(&host).into_iter().map(|value| value.below(&format!("{name:?}"))),
                    );
                }
                Err(message) => errors.push(InvalidValue::new(format!("{name:?}"), message)),
            }
        }
        let redirects: Vec<DomainRedirects<'_>> =
            self.0.iter().map(|(name, settings)| settings.list_redirects(name)).collect();
        errors.extend(list_redirects_in_circles(&redirects));
        errors.extend(self.list_invalid_targets());
        errors
    }
}

impl Settings {
    /// The targets of `host`, whose destinations have these rules.
    pub(super) fn written_targets<'a>(&'a self, host: &'a str, policy: &'a DestinationPolicy) -> WrittenTargets<'a> {
        let Settings { targets, split, token_param, .. } = self;
        WrittenTargets { host, targets, split, token_param, policy }
    }

    /// The URLs that requests for this host are redirected to.
    fn list_redirects<'a>(&'a self, name: &'a str) -> DomainRedirects<'a> {
        DomainRedirects { name, urls: self.redirect_urls().filter_map(|(key, url)| Some((key, url?))).collect() }
    }

    fn list_invalid_urls(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        for (key, url) in self.redirect_urls() {
            if let Some(Err(error)) = url.map(DomainUrl::check_and_build) {
                errors.push(InvalidValue::new(key, error));
            }
        }
        if let Some(Err(error)) = self.shop_url.as_deref().map(policy::check_and_normalize_web_url) {
            errors.push(InvalidValue::new("shop_url", error.to_string()));
        }
        errors
    }

    /// The URLs that may hold `{code}`, each with its key.
    fn redirect_urls(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let urls = [
            ("not_found_url", &self.not_found_url),
            ("root_url", &self.root_url),
            ("fallback_url", &self.fallback_url),
        ];
        urls.into_iter().map(|(key, url)| (key, url.as_deref()))
    }

    /// The errors of the settings of `host`, each with its key.
    fn list_invalid_values(&self, host: &str) -> Vec<InvalidValue> {
        let mut errors = self.list_invalid_urls();
        if let Err(message) = SubNames::parse(&self.sub_names, &self.token_param) {
            errors.push(InvalidValue::new("sub_names", message));
        }
        if self.unknown_hosts == UnknownHosts::Refuse && host != "*" {
            let message = "is a setting of [domains.\"*\"], the hosts that have no section";
            errors.push(InvalidValue::new("unknown_hosts", message));
        }
        if let Some(Err(message)) =
            self.cookie_domain.as_deref().map(|domain| check_and_normalize_cookie_domain(domain, host))
        {
            errors.push(InvalidValue::new("cookie_domain", message));
        }
        if let Some(hsts) = self.hsts.as_deref().filter(|hsts| tls::parse_hsts(hsts).is_none()) {
            errors.push(InvalidValue::new("hsts", format!("is {hsts:?}; allowed is {}", tls::HSTS_FORM)));
        }
        if !REFERRER_POLICIES.contains(&self.referrer_policy.as_str()) {
            let message = format!("is {:?}; allowed are {}", self.referrer_policy, REFERRER_POLICIES.join(", "));
            errors.push(InvalidValue::new("referrer_policy", message));
        }
        if !is_param_name(&self.token_param) {
            let message = format!("is {:?}; allowed are 1 to 32 letters, digits, '-', '.' and '_'", self.token_param);
            errors.push(InvalidValue::new("token_param", message));
        } else if LinkParameter::find_by_name(self.token_param.as_bytes()).is_some() {
            errors.push(InvalidValue::new(
                "token_param",
                format!("is {:?}, which has its own meaning in a link", self.token_param),
            ));
        }
        if let Err(message) = self.check_next_hop_param() {
            errors.push(InvalidValue::new("next_hop_param", message));
        }
        if self.robots.len() > 4096 {
            errors.push(InvalidValue::new("robots", format!("has {} bytes; allowed are 4096", self.robots.len())));
        }
        self.list_invalid_app_values(&mut errors);
        errors
    }

    fn check_next_hop_param(&self) -> Result<(), String> {
        let name = &self.next_hop_param;
        if !is_param_name(name) {
            return Err(format!("is {name:?}; allowed are 1 to 32 letters, digits, '-', '.' and '_'"));
        }
        let mut others = self.sub_names.iter().chain([&self.token_param]);
        if LinkParameter::find_by_name(name.as_bytes()).is_some()
            || others.any(|other| other.eq_ignore_ascii_case(name))
        {
            return Err(format!("is {name:?}, which has its own meaning in a link"));
        }
        Ok(())
    }

    /// Whether an app may ask for a click as JSON.
    pub(super) fn lets_apps_resolve(&self) -> bool {
        self.app_resolves.unwrap_or(self.app_links.is_some())
    }

    fn list_invalid_app_values(&self, errors: &mut Vec<InvalidValue>) {
        if let Some(origin) = self.app_origins.iter().find(|origin| !is_origin(origin)) {
            let message =
                format!("has {origin:?}; allowed are origins as browsers send them: https://m.shop.example.com");
            errors.push(InvalidValue::new("app_origins", message));
        } else if !self.app_origins.is_empty() && !self.lets_apps_resolve() {
            errors.push(InvalidValue::new("app_origins", "needs app_resolves = true".to_owned()));
        }
        if self.app_links.is_some() && self.app_resolves == Some(false) {
            let message = "is false, and app_links names an app: it would open, and no click would come here";
            errors.push(InvalidValue::new("app_resolves", message.to_owned()));
        }
        if let Some(Err(message)) = self.app_links.as_ref().map(AppLinks::check_names_apps_with_ids) {
            errors.push(InvalidValue::new("app_links", message));
        }
    }
}

/// Whether a text is an origin in the form of an `Origin` header: scheme, host and port in lower case, no path. Pages
/// without an origin send `null`, and so could any.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_scheme_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_host_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(is_scheme_byte)
        && !host.is_empty()
        && host.bytes().all(is_host_byte)
}

/// Parses `cookie_domain` of `host` into lower case and punycode.
///
/// # Errors
/// Browsers would drop the cookie: the domain does not cover the host, or is a public suffix or an address.
pub(super) fn check_and_normalize_cookie_domain(written: &str, host: &str) -> Result<String, String> {
    let domain = parse_host_or_asterisk(written.strip_prefix('.').unwrap_or(written))?;
    if host == "*" {
        return Err("needs a named host: browsers drop a cookie whose Domain does not cover the host".to_owned());
    }
    if !is_same_or_subdomain(host, &domain) {
        return Err(format!("{domain} does not cover {host}; browsers would drop the cookie"));
    }
    if host.parse::<std::net::IpAddr>().is_ok() || psl::domain_str(&domain).is_none() {
        return Err(format!("{domain} is a public suffix or an address; browsers would drop the cookie"));
    }
    Ok(domain)
}
