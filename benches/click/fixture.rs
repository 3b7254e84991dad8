//! What the steps work on: the keyring, the links, and the in-app request that the load test sends.

#[path = "places.rs"]
pub(crate) mod places;

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use waypost::attribution::UrlKeyCache;
use waypost::attribution::claims::{CookieClaims, UrlClaims, UrlFlags};
use waypost::attribution::click_id::ClickId;
use waypost::attribution::entropy::ClickEntropy;
use waypost::attribution::key_scope::KeyScope;
use waypost::attribution::keyring::Keyring;
use waypost::attribution::token::PayloadBuffer;
use waypost::client::address::TrustedProxies;
use waypost::edge::context::RequestContext;
use waypost::edge::scratch::ScratchBuffers;
use waypost::edge::snapshot::Edge;
use waypost::geoip::Databases;
use waypost::journal::{self, DirectoryLocks, Journal, JournalParts, LaneWriter};
use waypost::links::domains::{self, DomainId, Domains};
use waypost::links::{Link, Table, destination::policy::DestinationPolicy};
use waypost::model::click::{
    AddressMode, AddressSource, Carrier, Click, Consent, CookieState, Flags, HttpVersion, Method, Outcome, Privacy,
    Text,
};
use waypost::model::target_choice::NextHop;
use waypost::net::peer::{Peer, TrustedNetworks};

/// The time of every click here.
pub(crate) const NOW_MS: u64 = 1_795_000_000_000;
/// The code that is asked for.
pub(crate) const CODE: &[u8] = b"7Kq2ZpXa";
/// The scope of the key that signs the URL token.
pub(crate) const SELLER: KeyScope<'static> = KeyScope::Seller("s_311");
/// A phone's agent in an app, as `loadtest/requests/in-app.txt` has it.
pub(crate) const AGENT: &str = "Mozilla/5.0 (Linux; Android 14; SM-S918N Build/UP1A.231005.007; wv) \
    AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.6778.135 Mobile Safari/537.36 \
    Instagram 361.0.0.46.88 Android (34/14; 450dpi; 1080x2115; samsung; SM-S918N; dm3q; qcom; ko_KR; 674675155)";

/// A ring with one key, a worker's cache that knows the seller, and room to write in.
pub(crate) struct Signing {
    pub(crate) ring: Keyring,
    pub(crate) cache: UrlKeyCache,
    pub(crate) payload: PayloadBuffer,
    pub(crate) out: Vec<u8>,
    /// A valid cookie.
    pub(crate) cookie: Vec<u8>,
}

/// The claims of a buyer's cookie.
pub(crate) fn cookie_claims() -> CookieClaims<'static> {
    CookieClaims { visitor: [7; 16], click_id: click_id().0, domain: b"*", code: CODE }
}

/// The claims of the token in the destination.
pub(crate) fn url_claims() -> UrlClaims<'static> {
    UrlClaims { click_id: click_id().0, domain: b"*", code: CODE, flags: UrlFlags::NAVIGATION }
}

/// The id of the click.
pub(crate) fn click_id() -> ClickId {
    ClickId::mint(NOW_MS, &[9; 10])
}

/// Everything warm: the seller's key is derived, the buffers have grown.
pub(crate) fn signing() -> Signing {
    let dir = tempfile::tempdir().unwrap();
    let ring = Keyring::load_or_create_file_with_new_key(&dir.path().join("keys.json"), NOW_MS).unwrap();
    let (mut cache, mut out, mut cookie) = (UrlKeyCache::default(), Vec::with_capacity(4096), Vec::new());
    ring.sign_and_append_url_token_and_return_key_id(&mut cache, NOW_MS, SELLER, &url_claims(), &mut out);
    ring.sign_and_append_cookie_token(NOW_MS, &cookie_claims(), &mut cookie);
    out.clear();
    Signing { ring, cache, payload: PayloadBuffer::default(), out, cookie }
}

/// The in-app request of the load test for a code, with this cookie if one is given.
pub(crate) fn request(code: &str, cookie: Option<&[u8]>) -> Request<()> {
    let mut lines = include_str!("../../loadtest/requests/in-app.txt").lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().replace("{code}", code);
    let mut request = Request::builder().uri(target);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if let Some(cookie) = cookie {
        request = request.header("Cookie", [b"__Host-wp=", cookie].concat());
    }
    request.body(()).unwrap()
}

/// An edge, and one request for it.
pub(crate) struct Visit {
    pub(crate) edge: Edge,
    pub(crate) request: Request<()>,
    pub(crate) context: RequestContext,
    pub(crate) scratch: ScratchBuffers,
}

/// What a visit has beside the click itself.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Setup {
    /// Plain HTTP, no configured domain, no proxy, a short query.
    Plain,
    /// The host has its own settings in `[domains]`, and the link is in that domain.
    ConfiguredDomain,
    /// The connection uses TLS, and `tls.hsts` is set.
    Tls,
    /// A trusted proxy passes the buyer's address and protocol on.
    Proxy,
    /// The query of an advertisement: `fbclid` and five `utm_` parameters.
    LongQuery,
    /// Everything above at once.
    Everything,
}

impl Setup {
    fn has(self, part: Setup) -> bool {
        self == part || self == Setup::Everything
    }
}

/// The query that an advertisement adds to the link, as bytes of the request target.
pub(crate) const LONG_QUERY: &str = "&fbclid=IwZXh0bgNhZW0CMTEAAR0hT4sXqL0vZ9yWc7uP3mKfBzQeDnRjUoTsVwYxGaHiJkLmNoPqRsT\
    uVwX_aem_d0N2bG9uZ0Zha2VWYWx1ZQ&utm_source=ig&utm_medium=social&utm_campaign=black_friday_2026&utm_content=story_3&\
    utm_term=rain%20coat";

/// A visit that is like one before it: buffers have grown, the seller's key is derived.
pub(crate) fn visit(code: &str, returning: bool) -> Visit {
    visit_with(code, returning, Setup::Plain)
}

/// A visit as [`visit`] has it, with what `setup` names.
pub(crate) fn visit_with(code: &str, returning: bool, setup: Setup) -> Visit {
    let name = if setup.has(Setup::ConfiguredDomain) { HOST } else { "*" };
    let domains = Domains::new(&domains_with(setup)).unwrap();
    let (signing, links) = (signing(), links_in(&domains, name));
    let cookie = returning.then_some(&signing.cookie[..]);
    let mut request = request(code, cookie);
    if setup.has(Setup::LongQuery) {
        *request.uri_mut() = format!("{}{LONG_QUERY}", request.uri()).parse().unwrap();
    }
    let mut trusted_proxies = TrustedProxies::default();
    if setup.has(Setup::Proxy) {
        trusted_proxies.networks = TrustedNetworks::parse(&["192.0.2.0/24"]).unwrap();
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", "198.51.100.23, 192.0.2.9".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
    }
    let edge = Edge::new(Arc::new(links.table), Arc::new(signing.ring), Arc::new(domains), Arc::new(trusted_proxies));
    let hsts = setup.has(Setup::Tls).then(|| "max-age=31536000".parse().unwrap());
    let edge = edge.with_tls(hsts, None);
    let peer = Peer { tls: setup.has(Setup::Tls), ..Peer::from_network(IpAddr::from([192, 0, 2, 7])) };
    let context = RequestContext {
        peer,
        wall_ms: NOW_MS,
        id_ms: NOW_MS,
        entropy: ClickEntropy { click_id: [9; 10], visitor_id: [7; 16] },
        lane_has_room: true,
    };
    let mut scratch = ScratchBuffers::default();
    let answer = edge.answer_and_encode_click(&request, &context, &mut scratch);
    // What is counted must be the click that it seems to be.
    let click = Click::decode(&scratch.click).unwrap();
    let is_known = code.as_bytes() == CODE;
    assert_eq!((click.status, click.texts[Text::Domain as usize]), (if is_known { 302 } else { 404 }, name.as_bytes()));
    assert_eq!(setup.has(Setup::Proxy), click.address == Some(IpAddr::from([198, 51, 100, 23])));
    assert_eq!(setup.has(Setup::Tls), answer.hsts.is_some());
    scratch.click.clear();
    Visit { edge, request, context, scratch }
}

/// A first visit to a link with this many targets. The last one decides; each asks for the device, the app and the
/// language, as the ones before it do.
pub(crate) fn visit_with_targets(targets: usize) -> Visit {
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let links = links_in(&domains, "*");
    let target = |at: usize| {
        let language = if at + 1 == targets { "ko".to_owned() } else { format!("x{}", (b'a' + at as u8) as char) };
        serde_json::json!({
            "when": { "os": "android", "device": "phone", "in_app": "instagram", "language": language },
            "url": format!("https://shop.example.com/view/product/{at}?creator=c_48213"),
        })
    };
    insert_link_with(&links, &serde_json::json!({ "targets": (0..targets).map(target).collect::<Vec<_>>() }));
    visit_of_table(links.table, None, targets.checked_sub(1))
}

/// A first visit to a link that lists hosts of next hops. Its URL names one of them, or nothing.
pub(crate) fn visit_with_next_hop(is_named: bool) -> Visit {
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let links = links_in(&domains, "*");
    insert_link_with(&links, &serde_json::json!({ "next_hop_hosts": ["shop.example.com", "*.example.org"] }));
    let mut visit = visit_of_table(links.table, None, None);
    if is_named {
        let next_hop = "https%3A%2F%2Fshop.example.com%2Fview%2Fproduct%2F1729384756%3Fcreator%3Dc_48213";
        *visit.request.uri_mut() = format!("{}&url={next_hop}", visit.request.uri()).parse().unwrap();
    }
    visit.edge.answer_and_encode_click(&visit.request, &visit.context, &mut visit.scratch);
    let target = Click::decode(&visit.scratch.click).unwrap().target;
    assert_eq!(target.unwrap().next_hop, is_named.then_some(NextHop::Listed));
    visit.scratch.click.clear();
    visit
}

/// Replaces the link [`CODE`] by one that has these fields too.
fn insert_link_with(links: &Links, fields: &serde_json::Value) {
    let mut record = serde_json::json!({
        "code": std::str::from_utf8(CODE).unwrap(), "kind": "product", "creator": "c_48213",
        "url": "https://shop.example.com/view/product/1729384756?creator=c_48213", "creator_type": "affiliate",
        "partner": "tap_7", "seller": "s_311", "product": "1729384756", "plan": "targeted", "rate_bp": 1200,
        "created_at": "2026-11-01T00:00:00Z",
    });
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let record = serde_json::from_value(record).unwrap();
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let valid = Link::check_and_build_from_record(&record, &DestinationPolicy::default(), &domains, NOW_MS, 0).unwrap();
    links.table.insert_or_replace(valid.link);
}

/// A first visit to the link [`CODE`] of this table, with these MMDB files, for which the target `chosen` decides.
fn visit_of_table(table: Table, geoip: Option<Arc<Databases>>, chosen: Option<usize>) -> Visit {
    let mut visit = visit("7Kq2ZpXa", false);
    visit.edge = visit.edge.with_links(Arc::new(table)).with_geoip(geoip.unwrap_or_default());
    let answer = visit.edge.answer_and_encode_click(&visit.request, &visit.context, &mut visit.scratch);
    assert_eq!(answer.status, 302);
    let target = Click::decode(&visit.scratch.click).unwrap().target;
    assert_eq!(target.and_then(|choice| choice.index).map(usize::from), chosen);
    visit.scratch.click.clear();
    visit
}

/// The host of every request here.
const HOST: &str = "go.example.com";

fn domains_with(setup: Setup) -> domains::Config {
    let mut config = domains::Config::default();
    if setup.has(Setup::ConfiguredDomain) {
        // Others beside it, so that the host is searched for.
        for host in ["a.example.com", HOST, "z.example.com"] {
            let settings = serde_json::from_value(serde_json::json!({ "shop_url": "https://shop.example.com/" }));
            config.0.insert(host.to_owned(), settings.unwrap());
        }
    }
    config
}

/// A worker's lane, and the bytes of an ordinary click. The rest is held open.
pub(crate) struct Appending {
    pub(crate) lane: LaneWriter,
    pub(crate) click: Vec<u8>,
    _rest: (JournalParts, tempfile::TempDir),
}

/// A lane that has taken clicks before.
pub(crate) fn appending() -> Appending {
    let dir = tempfile::tempdir().unwrap();
    let locks = DirectoryLocks::lock(dir.path(), None).unwrap();
    let config = journal::Config::default();
    let mut parts = Journal::open(dir.path(), "clicks", &config, 1, &locks).unwrap().into_parts();
    let mut lane = parts.writers.remove(0);
    let mut bytes = Vec::new();
    click().encode(&mut bytes);
    for _ in 0..10 {
        assert!(lane.try_make_room_for(bytes.len()));
        lane.append(&bytes).unwrap();
    }
    Appending { lane, click: bytes, _rest: (parts, dir) }
}

/// A table, and the domain that its links are in.
pub(crate) struct Links {
    pub(crate) table: Table,
    pub(crate) domain: DomainId,
    pub(crate) out: Vec<u8>,
}

/// A hundred product links; one of them is [`CODE`]. More would only take time: each of the table's shards, of which
/// there are a thousand or more, holds few of them.
pub(crate) fn links() -> Links {
    links_in(&Domains::new(&domains::Config::default()).unwrap(), "*")
}

/// A hundred product links of one domain; one of them is [`CODE`].
fn links_in(domains: &Domains, name: &str) -> Links {
    let table = Table::with_capacity(100);
    for number in 0..100 {
        let code = if number == 0 { std::str::from_utf8(CODE).unwrap().to_owned() } else { format!("link{number:04}") };
        let product = format!("{}", 1_729_384_756 + number);
        let record = serde_json::json!({
            "code": code, "url": format!("https://shop.example.com/view/product/{product}?creator=c_48213"),
            "kind": "product", "creator": "c_48213", "creator_type": "affiliate", "partner": "tap_7", "seller": "s_311",
            "product": product, "plan": "targeted", "rate_bp": 1200,
            "created_at": "2026-11-01T00:00:00Z", "domain": name,
        });
        let record = serde_json::from_value(record).unwrap();
        let link = Link::check_and_build_from_record(&record, &DestinationPolicy::default(), domains, NOW_MS, number)
            .unwrap()
            .link;
        table.try_insert_or_give_back(link).ok().unwrap();
    }
    Links { table, domain: domains.find_by_name(name).unwrap().id, out: Vec::with_capacity(4096) }
}

/// An ordinary click, as the worker writes it into the lane.
pub(crate) fn click() -> Click<'static> {
    let mut flags = Flags::default();
    flags.set_if(Flags::COOKIE_SET, true);
    let mut texts = [&b""[..]; Text::COUNT];
    for (text, bytes) in [
        (Text::Domain, &b"*"[..]),
        (Text::Code, CODE),
        (Text::Destination, b"https://shop.example.com/view/product/1729384756?creator=c_48213&wp="),
        (Text::PreviousDomain, b"*"),
        (Text::PreviousCode, CODE),
        (Text::Query, b"igsh=MzRlODBiNWFlZA=="),
        (Text::UserAgent, AGENT.as_bytes()),
        (Text::Referer, b"https://l.instagram.com/"),
        (Text::AcceptLanguage, b"ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7"),
        (Text::AppPackage, b"com.instagram.android"),
        (Text::SecFetch, b"navigate/document/?1"),
    ] {
        texts[text as usize] = bytes;
    }
    Click {
        id: click_id().0,
        at_ms: NOW_MS,
        outcome: Outcome::Redirected,
        status: 302,
        carrier: Carrier::Browser,
        method: Method::Get,
        http: HttpVersion::Http11,
        cookie_state: CookieState::Valid,
        visitor: Some([7; 16]),
        previous: Some([8; 16]),
        address: Some(IpAddr::from([192, 0, 2, 7])),
        address_mode: AddressMode::Full,
        address_source: AddressSource::Peer,
        consent: Consent::None,
        privacy: Privacy::None,
        flags,
        token_at: Some(68),
        token_kid: Some(*b"abcdefgh"),
        texts,
        route: b"",
        suspension: b"",
        target: None,
    }
}
