//! One host in the form that the click path uses.

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    links::{
        destination::policy::{self, DestinationPolicy},
        domains::{
            app_links::{AppAssociationFiles, AppLinks},
            choices::{Gpc, InApp, OnExpired, Prefetch},
            default_targets::DefaultTargets,
            domain_url::DomainUrl,
            host::is_same_or_subdomain,
            next_hop_rules::NextHopRules,
            settings::{MAX_DOMAINS, Settings, check_and_normalize_cookie_domain},
            sub_names::SubNames,
        },
        routes::Routes,
    },
    model::click::AddressMode,
    net::tls,
};

/// A domain's index among all domains, and whether its codes ignore case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DomainId(u16);

impl DomainId {
    /// Marks a domain whose codes ignore case. Indices lie below it.
    const IGNORES_CASE: u16 = 1 << 15;

    /// The id of the domain with this index; `None` if it is above [`MAX_DOMAINS`].
    pub(super) fn new(index: usize, ignores_case: bool) -> Option<DomainId> {
        let index = u16::try_from(index).ok().filter(|index| usize::from(*index) <= MAX_DOMAINS)?;
        Some(DomainId(index | if ignores_case { DomainId::IGNORES_CASE } else { 0 }))
    }

    /// Whether the domain's codes ignore case: stored codes are in lower case, and a requested one is before its
    /// look-up.
    pub const fn ignores_case(self) -> bool {
        self.0 & DomainId::IGNORES_CASE != 0
    }

    /// The id as the front of a link's key.
    pub(crate) const fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// The id of these bytes, which [`DomainId::to_bytes`] made.
    pub(crate) const fn from_bytes(bytes: [u8; 2]) -> DomainId {
        DomainId(u16::from_le_bytes(bytes))
    }

    /// The index in [`Domains::all`](super::Domains::all).
    pub const fn index(self) -> usize {
        (self.0 & !DomainId::IGNORES_CASE) as usize
    }
}

/// A host's settings in the form that the click path uses: nothing is parsed, checked or formatted again.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The id; the front of a link's key.
    pub id: DomainId,
    /// The host in lower case and punycode, or `*`.
    pub name: Box<str>,
    /// `Location` for an unknown code.
    pub not_found_url: Option<DomainUrl>,
    /// `Location` for `/`.
    pub root_url: Option<DomainUrl>,
    /// `Location` for a link that is not live and has no fallback of its own.
    pub fallback_url: Option<DomainUrl>,
    /// The URL of the shop, linked on 404 and 410 pages.
    pub shop_url: Option<Box<str>>,
    /// The answer to an expired link without a fallback.
    pub on_expired: OnExpired,
    /// The answer to a prefetch.
    pub prefetch: Prefetch,
    /// The effect of `Sec-GPC: 1`.
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
    /// Whether an app may ask for a click as JSON.
    pub app_resolves: bool,
    /// The origins whose scripts may read that JSON.
    pub app_origins: Box<[HeaderValue]>,
    /// Bodies of the app association files.
    pub app_association_files: AppAssociationFiles,
    /// Whether `/CODE+` shows a page about the link.
    pub info_page: bool,
    /// The answer to a tap in an app's own browser.
    pub in_app: InApp,
    /// Whether an answer can depend on what asks: an app, or an app's own browser.
    pub asks_for_client_kind: bool,
    /// The targets of links that have none of their own.
    pub default_targets: Option<DefaultTargets>,
    /// How requests name a next hop.
    pub next_hop: NextHopRules,
    /// Whether clicks can end elsewhere than at their link's own URL: the domain has targets, or follows signed next
    /// hops.
    pub leads_elsewhere: bool,
    /// The names of the sub ids, if they are not `sub1` to `sub5`.
    pub sub_names: SubNames,
    /// The shapes of other trackers' URLs.
    pub routes: Routes,
}

impl Domain {
    /// Prepares the settings of the host `name` (lower case, punycode, or `*`).
    ///
    /// # Errors
    /// One of the errors in the settings.
    pub(super) fn new(
        id: DomainId,
        name: String,
        settings: &Settings,
        policy: &DestinationPolicy,
    ) -> Result<Domain, String> {
        let shop_url = settings.shop_url.as_deref().map(policy::check_and_normalize_web_url).transpose();
        let cookie_domain = settings
            .cookie_domain
            .as_deref()
            .map(|domain| check_and_normalize_cookie_domain(domain, &name))
            .transpose()?;
        let mut domain = Domain {
            id,
            not_found_url: settings.not_found_url.as_deref().map(DomainUrl::check_and_build).transpose()?,
            root_url: settings.root_url.as_deref().map(DomainUrl::check_and_build).transpose()?,
            fallback_url: settings.fallback_url.as_deref().map(DomainUrl::check_and_build).transpose()?,
            shop_url: shop_url.map_err(|error| error.to_string())?.map(String::into_boxed_str),
            on_expired: settings.on_expired,
            prefetch: settings.prefetch,
            gpc: settings.gpc,
            cookie_domain: cookie_domain.map(String::into_boxed_str),
            hsts: settings.hsts.as_deref().and_then(tls::parse_hsts),
            referrer_policy: HeaderValue::from_str(&settings.referrer_policy).map_err(|error| error.to_string())?,
            token_param: settings.token_param.as_str().into(),
            client_ip: settings.client_ip.address_mode(),
            robots: settings.robots.clone().into(),
            app_resolves: settings.lets_apps_resolve(),
            app_origins: check_origins_and_convert_to_headers(&settings.app_origins)?,
            app_association_files: settings
                .app_links
                .as_ref()
                .map(AppLinks::build_association_files)
                .unwrap_or_default(),
            info_page: settings.info_page,
            in_app: settings.in_app,
            asks_for_client_kind: settings.lets_apps_resolve() || settings.in_app == InApp::OpenOutside,
            default_targets: None,
            next_hop: NextHopRules::new(&settings.next_hop_param, settings.next_hop_signed, policy),
            leads_elsewhere: settings.next_hop_signed,
            sub_names: SubNames::parse(&settings.sub_names, &settings.token_param)?,
            routes: Routes::compile(&settings.routes)?,
            name: name.into(),
        };
        let is_reached = |host: &str| domain.is_cookie_sent_to_host(host);
        let default_targets = DefaultTargets::compile(settings.written_targets(&domain.name, policy), is_reached)?;
        domain.leads_elsewhere |= default_targets.is_some();
        domain.default_targets = default_targets;
        Ok(domain)
    }

    /// Whether its cookie has the `Domain` that these settings give it.
    pub fn has_cookie_domain_of(&self, settings: &Settings) -> bool {
        let written = settings.cookie_domain.as_deref();
        let normal = written.and_then(|written| check_and_normalize_cookie_domain(written, &self.name).ok());
        normal.as_deref() == self.cookie_domain.as_deref()
    }

    /// Whether browsers send the attribution cookie to `host` (lower case): the shop reads it there, and the URL needs
    /// no token. A cookie without `cookie_domain` is sent to the redirect host alone.
    pub fn is_cookie_sent_to_host(&self, host: &str) -> bool {
        match &self.cookie_domain {
            Some(domain) => is_same_or_subdomain(host, domain),
            None => *host == *self.name,
        }
    }
}

fn check_origins_and_convert_to_headers(origins: &[String]) -> Result<Box<[HeaderValue]>, String> {
    let headers = origins.iter().map(|origin| HeaderValue::from_str(origin).map_err(|error| error.to_string()));
    headers.collect::<Result<Vec<HeaderValue>, String>>().map(Vec::into_boxed_slice)
}
