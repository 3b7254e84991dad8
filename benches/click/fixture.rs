//! What the steps work on: the ring, the link and the in-app request that the load test plays.

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use waypost::attribution::keys::{Audience, Keyring, SellerKeys};
use waypost::attribution::mint::ClickId;
use waypost::attribution::mint::Seed;
use waypost::attribution::token::{CookieClaims, Payload, UrlClaims, UrlFlags};
use waypost::client::Trusted;
use waypost::edge::click::Scratch;
use waypost::edge::{Edge, Moment, Room};
use waypost::journal::{self, Journal, Lane, Parts};
use waypost::links::domains::{self, DomainId, Domains};
use waypost::links::{Link, Table, destination::entry::Rules};
use waypost::model::click::{
    AddressFrom, AddressMode, Carrier, Click, Consent, CookieState, Flags, HttpVersion, Method, Outcome, Privacy, Text,
};
use waypost::net::peer::Peer;

/// The moment of every click here.
pub(crate) const NOW_MS: u64 = 1_795_000_000_000;
/// The code that is asked for.
pub(crate) const CODE: &[u8] = b"7Kq2ZpXa";
/// The audience whose key signs the URL token.
pub(crate) const SELLER: Audience<'static> = Audience::Seller("s_311");
/// A phone's agent in an app, as `loadtest/requests/in-app.txt` has it.
pub(crate) const AGENT: &str = "Mozilla/5.0 (Linux; Android 14; SM-S918N Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, \
    like Gecko) Version/4.0 Chrome/131.0.6778.135 Mobile Safari/537.36 Instagram 361.0.0.46.88 Android (34/14; 450dpi; \
    1080x2115; samsung; SM-S918N; dm3q; qcom; ko_KR; 674675155)";

/// A ring with one key, a worker's memo that knows the seller, and room to write in.
pub(crate) struct Signing {
    pub(crate) ring: Keyring,
    pub(crate) memo: SellerKeys,
    pub(crate) payload: Payload,
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
    let ring = Keyring::open(&dir.path().join("keys.json"), NOW_MS).unwrap();
    let (mut memo, mut out, mut cookie) = (SellerKeys::default(), Vec::with_capacity(4096), Vec::new());
    ring.sign_url(&mut memo, NOW_MS, SELLER, &url_claims(), &mut out);
    ring.sign_cookie(NOW_MS, &cookie_claims(), &mut cookie);
    out.clear();
    Signing { ring, memo, payload: Payload::default(), out, cookie }
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
    pub(crate) moment: Moment,
    pub(crate) scratch: Scratch,
}

/// A visit that is like one before it: buffers have grown, the seller's key is derived.
pub(crate) fn visit(code: &str, returning: bool) -> Visit {
    let (signing, links) = (signing(), links());
    let cookie = returning.then_some(&signing.cookie[..]);
    let request = request(code, cookie);
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let edge =
        Edge::new(Arc::new(links.table), Arc::new(signing.ring), Arc::new(domains), Arc::new(Trusted::default()));
    let moment = Moment {
        peer: Peer::at(IpAddr::from([192, 0, 2, 7])),
        wall_ms: NOW_MS,
        id_ms: NOW_MS,
        seed: Seed { click: [9; 10], visitor: [7; 16] },
        room: Room::Free,
    };
    let mut scratch = Scratch::default();
    edge.answer(&request, &moment, &mut scratch);
    scratch.click.clear();
    Visit { edge, request, moment, scratch }
}

/// A worker's lane, and the bytes of an ordinary click. The rest is held open.
pub(crate) struct Appending {
    pub(crate) lane: Lane,
    pub(crate) click: Vec<u8>,
    _rest: (Parts, tempfile::TempDir),
}

/// A lane that has taken clicks before.
pub(crate) fn appending() -> Appending {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = Journal::open(dir.path(), &journal::Config::default(), 1).unwrap().into_parts();
    let mut lane = parts.lanes.remove(0);
    let mut bytes = Vec::new();
    click().encode(&mut bytes);
    for _ in 0..10 {
        assert!(lane.room(bytes.len()));
        lane.append(0, &bytes).unwrap();
    }
    Appending { lane, click: bytes, _rest: (parts, dir) }
}

/// A table, and the domain that its links are in.
pub(crate) struct Links {
    pub(crate) table: Table,
    pub(crate) domain: DomainId,
    pub(crate) out: Vec<u8>,
}

/// A thousand product links; one of them is [`CODE`].
pub(crate) fn links() -> Links {
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let table = Table::with_capacity(1000);
    for number in 0..1000 {
        let code = if number == 0 { std::str::from_utf8(CODE).unwrap().to_owned() } else { format!("link{number:04}") };
        let record = serde_json::json!({
            "code": code, "url": format!("https://shop.example.com/view/product/{}?creator=c_48213", 1_729_384_756 + number),
            "kind": "product", "creator": "c_48213", "creator_type": "affiliate", "partner": "tap_7", "seller": "s_311",
            "product": format!("{}", 1_729_384_756 + number), "plan": "targeted", "rate_bp": 1200,
            "created_at": "2026-11-01T00:00:00Z",
        });
        let record = serde_json::from_value(record).unwrap();
        let link = Link::new(&record, &Rules::default(), &domains, NOW_MS, number).unwrap().0;
        table.insert(link).ok().unwrap();
    }
    Links { table, domain: domains.named("*").unwrap().id, out: Vec::with_capacity(4096) }
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
        address_from: AddressFrom::Peer,
        consent: Consent::None,
        privacy: Privacy::None,
        flags,
        token_at: Some(68),
        token_kid: Some(*b"abcdefgh"),
        texts,
    }
}
