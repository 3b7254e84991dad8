//! The hosts codes are served on, and how each one answers.
//!
//! `[domains."go.example.com"]` configures a host; it has codes of its own. `[domains."*"]` stands for every host that is
//! not configured. A domain inherits nothing from `*`: what it does not say has the default written here.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::{
    links::{
        destination::entry,
        domains::settings::{cookie_domain, covers, host_of},
    },
    model::click::AddressMode,
    net::tls,
};

mod settings;

pub use settings::{AndroidApp, AppLinks, Config, Settings};

/// What an expired link without a fallback answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpired {
    /// On to the link's own destination, without cookie and token.
    #[default]
    Pass,
    /// `410` with the way to the shop.
    Gone,
}

/// What a prefetch or prerender gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefetch {
    /// `503`, so that the browser asks again at the buyer's real tap.
    #[default]
    Refuse,
    /// `302` without cookie and token.
    Redirect,
}

/// What `Sec-GPC: 1` changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gpc {
    /// No visitor id, the cookie is expired, the address coarsened; click id and token stay.
    #[default]
    Unlinked,
    /// As `unlinked`, and no token.
    Strict,
    /// Nothing.
    Ignore,
}

/// How much of the client's address a click keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientIp {
    /// All of it.
    #[default]
    Full,
    /// IPv4 to /24, IPv6 to /48.
    Truncated,
    /// Nothing.
    None,
}

/// A domain's place in [`Domains`], and whether its codes ignore case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DomainId(u16);

impl DomainId {
    /// Marks a domain whose codes ignore case; also the bound on the number of domains.
    const FOLDS: u16 = 1 << 15;
    /// The most hosts there can be beside `*`.
    pub(crate) const MOST: usize = DomainId::FOLDS as usize - 1;
    /// Whether the domain's codes ignore case: they are folded when they are loaded, and the asked one before look-up.
    pub const fn folds(self) -> bool {
        self.0 & DomainId::FOLDS != 0
    }
    pub(crate) const fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
    pub(crate) const fn from_bytes(bytes: [u8; 2]) -> DomainId {
        DomainId(u16::from_le_bytes(bytes))
    }
    /// Its place in [`Domains::all`].
    pub const fn place(self) -> usize {
        (self.0 & !DomainId::FOLDS) as usize
    }
}

/// A host's settings as the click path takes them: nothing is parsed, checked or formatted again.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its place; the first half of a link's key.
    pub id: DomainId,
    /// The host in lower case and punycode, or `*`.
    pub name: Box<str>,
    /// `Location` for an unknown code.
    pub not_found_url: Option<HeaderValue>,
    /// `Location` for `/`.
    pub root_url: Option<HeaderValue>,
    /// `Location` for a link that is not live and has no fallback of its own.
    pub fallback_url: Option<HeaderValue>,
    /// The way to the shop on 404 and 410 pages.
    pub shop_url: Option<Box<str>>,
    /// What an expired link without a fallback answers.
    pub on_expired: OnExpired,
    /// What a prefetch gets.
    pub prefetch: Prefetch,
    /// What `Sec-GPC: 1` changes.
    pub gpc: Gpc,
    /// The cookie's `Domain`, without a leading dot.
    pub cookie_domain: Option<Box<str>>,
    /// The `Referrer-Policy` of redirects.
    pub referrer_policy: HeaderValue,
    /// `Strict-Transport-Security` of answers over TLS; `None`: that of `[tls]`.
    pub hsts: Option<HeaderValue>,
    /// The name of the appended token's parameter; also never taken from an incoming query.
    pub token_param: Box<str>,
    /// How much of the client's address a click keeps.
    pub client_ip: AddressMode,
    /// The body of `/robots.txt`.
    pub robots: Bytes,
    /// Bodies of the app association files.
    pub associations: Associations,
}

/// Bodies of the app association files, `application/json`; `None` answers 404.
#[derive(Clone, Debug, Default)]
pub struct Associations {
    /// `/.well-known/apple-app-site-association`
    pub apple: Option<Bytes>,
    /// `/.well-known/assetlinks.json`
    pub android: Option<Bytes>,
}

impl Domain {
    fn new(id: DomainId, name: String, settings: &Settings) -> Result<Domain, String> {
        let location = |url: &Option<String>| -> Result<Option<HeaderValue>, String> {
            let Some(url) = url else { return Ok(None) };
            let url = entry::plain_web_url(url).map_err(|error| error.to_string())?;
            HeaderValue::try_from(url).map(Some).map_err(|error| error.to_string())
        };
        let shop_url = settings.shop_url.as_deref().map(entry::plain_web_url).transpose();
        let cookie_domain = settings.cookie_domain.as_deref().map(|domain| cookie_domain(domain, &name)).transpose()?;
        Ok(Domain {
            id,
            not_found_url: location(&settings.not_found_url)?,
            root_url: location(&settings.root_url)?,
            fallback_url: location(&settings.fallback_url)?,
            shop_url: shop_url.map_err(|error| error.to_string())?.map(String::into_boxed_str),
            on_expired: settings.on_expired,
            prefetch: settings.prefetch,
            gpc: settings.gpc,
            cookie_domain: cookie_domain.map(String::into_boxed_str),
            hsts: settings.hsts.as_deref().and_then(tls::hsts),
            referrer_policy: HeaderValue::from_str(&settings.referrer_policy).map_err(|error| error.to_string())?,
            token_param: settings.token_param.as_str().into(),
            client_ip: match settings.client_ip {
                ClientIp::Full => AddressMode::Full,
                ClientIp::Truncated => AddressMode::Truncated,
                ClientIp::None => AddressMode::None,
            },
            robots: settings.robots.clone().into(),
            associations: settings.app_links.as_ref().map(AppLinks::prepare).unwrap_or_default(),
            name: name.into(),
        })
    }

    /// Whether the attribution cookie reaches `host` by itself: the shop reads it there, and the URL needs no token.
    /// `host` is in lower case. A cookie without `cookie_domain` belongs to the redirect host alone.
    pub fn cookie_reaches(&self, host: &str) -> bool {
        match &self.cookie_domain {
            Some(domain) => covers(domain, host),
            None => *host == *self.name,
        }
    }
}

/// Every domain, by host. Immutable; made once at start.
#[derive(Clone, Debug)]
pub struct Domains {
    /// The first one is `*`.
    all: Vec<Domain>,
    by_host: HashMap<Box<[u8]>, u16, foldhash::fast::RandomState>,
}

/// The longest host there can be, in bytes.
pub(crate) const MAX_HOST: usize = 255;

impl Domains {
    /// Makes the ready values. `Err` holds one of the mistakes; ask [`Config::mistakes`] for all of them first.
    pub fn new(config: &Config) -> Result<Domains, String> {
        let default = Settings::default();
        let rest = config.0.iter().filter(|(name, _)| *name != "*");
        let all = std::iter::once(("*", config.0.get("*").unwrap_or(&default)))
            .chain(rest.map(|(name, settings)| (name.as_str(), settings)));
        let mut domains = Domains { all: Vec::new(), by_host: HashMap::default() };
        for (place, (name, settings)) in all.enumerate() {
            let folds = if settings.case_insensitive { DomainId::FOLDS } else { 0 };
            let place = u16::try_from(place).ok().filter(|place| *place < DomainId::FOLDS).ok_or("too many hosts")?;
            let host = host_of(name)?;
            let domain =
                Domain::new(DomainId(place | folds), host, settings).map_err(|text| format!("{name}: {text}"))?;
            if place > 0 {
                domains.by_host.insert(domain.name.as_bytes().into(), place);
            }
            domains.all.push(domain);
        }
        Ok(domains)
    }

    /// The domain that answers for a `Host` header: its port and one trailing dot do not count, nor does case. Makes
    /// no allocation.
    pub fn of_host(&self, host: &[u8]) -> &Domain {
        let place = if self.by_host.is_empty() { None } else { self.place_of(host) };
        &self.all[place.map_or(0, usize::from)]
    }

    fn place_of(&self, host: &[u8]) -> Option<u16> {
        let host = without_port(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut folded = [0; MAX_HOST];
        let folded = folded.get_mut(..host.len())?;
        folded.copy_from_slice(host);
        folded.make_ascii_lowercase();
        self.by_host.get(&*folded).copied()
    }

    /// The domain with this id.
    pub fn domain(&self, id: DomainId) -> &Domain {
        self.all.get(id.place()).unwrap_or(&self.all[0])
    }

    /// The domain a link names: `*` or a configured host, in any case.
    pub fn named(&self, name: &str) -> Option<&Domain> {
        if name == "*" {
            return self.all.first();
        }
        self.place_of(name.as_bytes())
            .or_else(|| self.by_host.get(host_of(name).ok()?.as_bytes()).copied())
            .map(|place| &self.all[usize::from(place)])
    }

    /// Every domain; the first one is `*`.
    pub fn all(&self) -> &[Domain] {
        &self.all
    }
}

/// Cuts `:port`; leaves the brackets of an IPv6 address alone.
fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(colon)
            if host[colon + 1..].iter().all(u8::is_ascii_digit) && host.get(colon.wrapping_sub(1)) != Some(&b':') =>
        {
            &host[..colon]
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_host_finds_its_domain_whatever_its_case_port_and_trailing_dot() {
        let domains = Domains::new(&config("[\"Go.Example.com\"]\n[\"bücher.example\"]\n[\"[::1]\"]")).unwrap();
        for host in ["go.example.com", "GO.example.COM:8443", "go.example.com.", "go.example.com.:80"] {
            assert_eq!(&*domains.of_host(host.as_bytes()).name, "go.example.com", "{host}");
        }
        assert_eq!(&*domains.of_host(b"xn--bcher-kva.example").name, "xn--bcher-kva.example");
        assert_eq!(&*domains.named("bücher.example").unwrap().name, "xn--bcher-kva.example");
        assert_eq!(&*domains.of_host(b"[::1]:8080").name, "[::1]");
        assert_eq!(&*domains.of_host(b"[::1]").name, "[::1]");
        for host in ["", "other.example", "127.0.0.1:8080", &"a".repeat(300), "go.example.com:x"] {
            assert_eq!(&*domains.of_host(host.as_bytes()).name, "*", "{host}");
        }
        assert_eq!(&*domains.named("*").unwrap().name, "*");
        assert!(domains.named("other.example").is_none());
    }

    #[test]
    fn without_configuration_every_host_is_served_by_the_default_domain() {
        let domains = Domains::new(&Config::default()).unwrap();
        let domain = domains.of_host(b"localhost:8080");
        assert_eq!((&*domain.name, &*domain.token_param, domain.id.folds()), ("*", "wp", false));
        assert_eq!(domain.referrer_policy, "strict-origin-when-cross-origin");
        assert!(std::ptr::eq(domain, domains.domain(domain.id)));
        assert!(!domain.cookie_reaches("localhost"));
    }

    #[test]
    fn the_cookie_reaches_its_domain_and_what_lies_below() {
        let domains =
            Domains::new(&config("[\"go.shop.example\"]\ncookie_domain = \".Shop.example\"\n[\"go.x.example\"]"));
        let domains = domains.unwrap();
        let domain = domains.of_host(b"go.shop.example");
        assert_eq!(domain.cookie_domain.as_deref(), Some("shop.example"));
        assert!(domain.cookie_reaches("shop.example") && domain.cookie_reaches("www.shop.example"));
        assert!(!domain.cookie_reaches("myshop.example") && !domain.cookie_reaches("example"));
        let own = domains.of_host(b"go.x.example");
        assert!(own.cookie_reaches("go.x.example") && !own.cookie_reaches("x.example"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_key() {
        let config = config(
            r#"
            ["go.example.co.uk"]
            cookie_domain = "co.uk"
            token_param = "sub1"
            referrer_policy = "maybe"
            not_found_url = "/relative"
            app_links = {}
            ["GO.example.co.uk"]
            ["*"]
            cookie_domain = "example.com"
            ["go.example.com:8080"]
            ["*.example.com"]
            ["go.other.example"]
            cookie_domain = "example.com"
            shop_url = "https://user@shop.example/"
            "#,
        );
        let mistakes = config.mistakes();
        let keys: Vec<&str> = mistakes.iter().map(|(key, _)| key.as_str()).collect();
        for key in [
            r#""go.example.co.uk".cookie_domain"#,
            r#""go.example.co.uk".token_param"#,
            r#""go.example.co.uk".referrer_policy"#,
            r#""go.example.co.uk".not_found_url"#,
            r#""go.example.co.uk".app_links"#,
            r#""*".cookie_domain"#,
            r#""go.example.com:8080""#,
            r#""*.example.com""#,
            r#""go.other.example".cookie_domain"#,
            r#""go.other.example".shop_url"#,
        ] {
            assert!(keys.contains(&key), "{key} is missing from {mistakes:?}");
        }
        assert!(mistakes.iter().any(|(_, text)| text.contains("the same host")));
        assert_eq!(keys.len(), 11, "{mistakes:?}");
    }

    #[test]
    fn association_files_exist_only_for_the_apps_that_are_named() {
        let text = "[\"go.example.com\"]\napp_links = { android = [{ package = \"com.shop\", sha256 = [\"AB:CD\"] }] }";
        let domains = Domains::new(&config(text)).unwrap();
        let associations = &domains.of_host(b"go.example.com").associations;
        assert!(associations.apple.is_none());
        let body: serde_json::Value = serde_json::from_slice(associations.android.as_ref().unwrap()).unwrap();
        assert_eq!(body[0]["target"]["package_name"], "com.shop");
        assert!(domains.of_host(b"other").associations.android.is_none());
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let error = toml::from_str::<Config>("[\"go.example.com\"]\ncookiedomain = \"x\"").unwrap_err();
        assert!(error.to_string().contains("unknown field `cookiedomain`"));
    }
}
