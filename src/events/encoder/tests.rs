use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use super::*;
use crate::{
    events::labels::ClickLabeller,
    geoip::Network,
    model::{
        click::{AddressMode, AddressSource, Carrier, Consent, CookieState, HttpVersion, Method, Outcome},
        link::{CreatorType, LINK_LIFETIME_MS, LinkKind, NO_END_MS, Plan},
        target_choice::{NextHop, SplitBasis, SplitChoice, TargetChoice, WayOut},
    },
};

mod description;
mod protobuf;

/// Its automaton takes a tenth of a second to build without optimisation.
static LABELLER: LazyLock<Mutex<ClickLabeller>> = LazyLock::new(|| Mutex::new(ClickLabeller::new().unwrap()));

const AT_MS: u64 = 1_795_000_000_123;
const IDENTITY: ClickIdentity<'static> =
    ClickIdentity { edge: "edge-7f3a", lane: 1, epoch: 1_794_900_000_000, seq: 48_213, safe: 48_190 };
const IN_APP: &[u8] =
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5_1; ko_KR; ko; scale=3.00; 1170x2532; 607520423)";
const DESTINATION: &[u8] = b"https://shop.example.com/view/product/1729384756?creator=c_48213&wp=";

fn id(at_ms: u64, rest: u8) -> [u8; 16] {
    let mut id = [rest; 16];
    id[..6].copy_from_slice(&at_ms.to_be_bytes()[2..]);
    (id[6], id[8]) = (0x70 | rest >> 4, 0x80 | rest >> 4);
    id
}

/// A first tap from Instagram on a product link.
pub(crate) fn click() -> Click<'static> {
    let mut texts = [&[][..]; Text::COUNT];
    let mut set = |text: Text, value: &'static [u8]| texts[text as usize] = value;
    set(Text::Domain, b"*");
    set(Text::Code, b"7Kq2ZpXa");
    set(Text::Destination, DESTINATION);
    set(Text::Query, b"sub1=reel%209&fbclid=PAZXh0bgNhZW0CMTEAAaZ3&utm_source=ig&utm_medium=social");
    set(Text::UserAgent, IN_APP);
    set(Text::Referer, b"https://l.instagram.com/");
    set(Text::AcceptLanguage, b"ko-KR,ko;q=0.9");
    set(Text::SecFetch, b"navigate/document/?1");
    let mut flags = Flags::default();
    flags.set_if(Flags::COOKIE_SET, true);
    flags.set_if(Flags::VISITOR_NEW, true);
    Click {
        id: id(AT_MS, 0x5a),
        at_ms: AT_MS,
        outcome: Outcome::Redirected,
        status: 302,
        carrier: Carrier::Browser,
        method: Method::Get,
        http: HttpVersion::Http11,
        cookie_state: CookieState::None,
        visitor: Some([0xc3; 16]),
        previous: None,
        address: Some(IpAddr::from([203, 0, 113, 77])),
        address_mode: AddressMode::Full,
        address_source: AddressSource::Xff,
        consent: Consent::None,
        privacy: Privacy::None,
        flags,
        token_at: Some(DESTINATION.len() as u16),
        token_kid: Some(*b"k7Qm2xZa"),
        texts,
        route: b"",
        suspension: b"",
        target: None,
    }
}

pub(crate) fn facts() -> LinkFacts<'static> {
    LinkFacts {
        version: 1_794_990_000_000,
        kind: LinkKind::Product,
        created_ms: 1_793_491_200_000,
        ends_ms: 1_793_491_200_000 + LINK_LIFETIME_MS,
        creator_type: Some(CreatorType::Affiliate),
        plan: Some(Plan::Targeted),
        rate_bp: 1200,
        test: false,
        creator: "c_48213",
        partner: "tap_7",
        seller: "s_311",
        campaign: "",
        product: "1729384756",
        product_set: "",
    }
}

fn event_of(click: &Click<'_>, facts: Option<&LinkFacts<'_>>, duplicate: DuplicateVerdict) -> String {
    String::from_utf8(event_in(ValueEncoding::Json, click, facts, duplicate)).unwrap()
}

fn event_in(
    encoding: ValueEncoding,
    click: &Click<'_>,
    facts: Option<&LinkFacts<'_>>,
    duplicate: DuplicateVerdict,
) -> Vec<u8> {
    event_with_labels(encoding, click, facts, (&PlaceLabels::default(), None), duplicate)
}

/// An event with the labels of its address and its device.
fn event_with_labels(
    encoding: ValueEncoding,
    click: &Click<'_>,
    facts: Option<&LinkFacts<'_>>,
    (place, device): (&PlaceLabels<'_>, Option<&DeviceLabels<'_>>),
    duplicate: DuplicateVerdict,
) -> Vec<u8> {
    // Through the journal's bytes, where texts are cut to their limits.
    let mut bytes = Vec::new();
    click.encode(&mut bytes);
    let click = Click::decode(&bytes).unwrap();
    let params = QueryParams::parse_known_params(click.text(Text::Query));
    let labels = LABELLER.lock().unwrap().compute_labels(&click, &params);
    let mut out = Vec::new();
    let derived = DerivedFacts { link: facts, params: &params, labels: &labels, place, device, duplicate };
    EventEncoder::default().append_event(&mut out, encoding, &IDENTITY, &click, &derived);
    out
}

/// Every golden event as JSON, by its name.
fn goldens() -> Vec<(&'static str, String)> {
    let events = goldens_in(ValueEncoding::Json).into_iter();
    events.map(|(name, event)| (name, String::from_utf8(event).unwrap())).collect()
}

fn goldens_in(encoding: ValueEncoding) -> Vec<(&'static str, Vec<u8>)> {
    let mut dead = Vec::new();
    append_dead_letter_stub(&mut dead, encoding, &IDENTITY, &click(), Refusal::TooLarge, 1_734);
    let place = PlaceLabels {
        country: Some(*b"US"),
        region: b"CA",
        network: Some(Network { number: 64500, name: "Example \"Telecom\"" }),
        is_data_centre: Some(false),
    };
    let device = DeviceLabels {
        device: b"phone",
        os: b"ios",
        os_version: b"17.5.1",
        browser: b"Instagram",
        browser_version: b"334.0.4",
    };
    let labels = (&place, Some(&device));
    let labelled = event_with_labels(encoding, &click(), Some(&facts()), labels, DuplicateVerdict::First);
    let duplicate_of = |name| match name {
        "returning_double_tap" => DuplicateVerdict::Visitor,
        _ => DuplicateVerdict::First,
    };
    let clicks = clicks_by_answer().into_iter().chain(clicks_by_client()).chain(clicks_by_target());
    let events =
        clicks.map(|(name, click, link)| (name, event_in(encoding, &click, link.as_ref(), duplicate_of(name))));
    [("dead_lettered", dead)].into_iter().chain(events).chain([("labelled", labelled)]).collect()
}

/// A click by the name of its golden event, with the facts of its link.
type GoldenClick = (&'static str, Click<'static>, Option<LinkFacts<'static>>);

/// The click of [`click`] with other texts.
fn with_texts(texts: &[(Text, &'static [u8])]) -> Click<'static> {
    let mut click = click();
    texts.iter().for_each(|(text, value)| click.texts[*text as usize] = value);
    click
}

fn clicks_by_answer() -> [GoldenClick; 8] {
    let (first, link) = (click(), facts());
    let none: &[u8] = b"";
    let mut returning = with_texts(&[(Text::PreviousDomain, b"*"), (Text::PreviousCode, b"7Kq2ZpXa")]);
    returning.cookie_state = CookieState::Valid;
    returning.previous = Some(id(AT_MS - 800, 0x21));
    returning.flags = Flags::COOKIE_SET;

    let mut unknown = with_texts(&[(Text::Code, b"nosuch"), (Text::Destination, none), (Text::Query, none)]);
    (unknown.outcome, unknown.status, unknown.visitor) = (Outcome::NotFound, 404, None);
    (unknown.token_at, unknown.token_kid, unknown.flags) = (None, None, Flags::default());

    let mut passed = first;
    (passed.outcome, passed.visitor, passed.token_at, passed.token_kid) = (Outcome::Passed, None, None, None);
    passed.flags = Flags::default();

    let mut prefetch = with_texts(&[(Text::Destination, none)]);
    (prefetch.outcome, prefetch.status, prefetch.visitor) = (Outcome::RefusedPrefetch, 503, None);
    (prefetch.token_at, prefetch.token_kid, prefetch.flags) =
        (None, None, Flags(Flags::PREFETCH.0 | Flags::REPAIRED.0));

    let mut gpc = first;
    (gpc.visitor, gpc.privacy, gpc.flags) = (None, Privacy::Unlinked, Flags::GPC);
    (gpc.address, gpc.address_mode) = ("2001:db8:12::".parse().ok(), AddressMode::Truncated);
    gpc.consent = Consent::Granted;

    let test = LinkFacts { test: true, ends_ms: link.created_ms + 86_400_000, ..link };
    [
        ("ordinary", first, Some(link)),
        ("returning_double_tap", returning, Some(link)),
        ("unknown_code", unknown, None),
        ("expired_passed", passed, Some(link)),
        ("prefetch", prefetch, Some(link)),
        ("gpc", gpc, Some(link)),
        ("test_link", first, Some(test)),
        ("head", head(), Some(link)),
    ]
}

fn head() -> Click<'static> {
    let none: &[u8] = b"";
    let mut head = with_texts(&[(Text::UserAgent, b"UptimeRobot/2.0"), (Text::Referer, none), (Text::Query, none)]);
    (head.method, head.visitor, head.token_at, head.token_kid) = (Method::Head, None, None, None);
    head.flags = Flags::default();
    head
}

fn clicks_by_client() -> [GoldenClick; 3] {
    let (link, none) = (facts(), &b""[..]);
    let mut app = with_texts(&[(Text::UserAgent, b"okhttp/4.12.0"), (Text::SecFetch, none), (Text::Referer, none)]);
    (app.carrier, app.status, app.flags) = (Carrier::App, 200, Flags::VISITOR_NEW);
    app.route = b"tune";
    app.suspension = b"creator:c_1";
    let showcase = LinkFacts {
        kind: LinkKind::Showcase,
        plan: None,
        rate_bp: 0,
        seller: "",
        product: "",
        product_set: "ps_90",
        partner: "",
        ..link
    };
    let preview = with_texts(&[
        (Text::UserAgent, b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
        (Text::Referer, none),
        (Text::SecFetch, none),
        (Text::AcceptLanguage, none),
        (Text::Query, none),
    ]);
    let hostile = with_texts(&[
        (Text::UserAgent, b"\"},{\"type\":\"click\"\\ \x00\x1f\x7f \xff\xfe \xed\xa0\x80 \xea\xb0"),
        (Text::Referer, "https://예시.example/\u{2028}\n".as_bytes()),
        (Text::Query, b"sub1=%22%0a%ff%zz%&sub2=a+b&sub2=c&%73ub3=x&sub4=%EC%95%88"),
    ]);
    [("app_resolve", app, Some(showcase)), ("preview", preview, Some(link)), ("hostile", hostile, Some(link))]
}

fn clicks_by_target() -> [GoldenClick; 2] {
    let mut targeted = with_texts(&[(Text::Destination, b"https://shop.example.vn/mug?wp=")]);
    targeted.token_at = Some(31);
    targeted.target = Some(TargetChoice {
        index: Some(1),
        split: Some(SplitChoice { variant: b"b", bucket: 7351, basis: SplitBasis::Visitor }),
        facts: b"os=ios;country=VN;query.color=dark%20red",
        next_hop: Some(NextHop::Refused),
        ..TargetChoice::default()
    });
    let mut opened_outside = targeted;
    opened_outside.status = 200;
    opened_outside.target = Some(TargetChoice {
        index: Some(0),
        facts: b"os=ios;in_app=instagram",
        way_out: Some(WayOut::AppScheme),
        is_of_domain: true,
        ..TargetChoice::default()
    });
    [("targeted", targeted, Some(facts())), ("opened_outside", opened_outside, Some(facts()))]
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn an_event_of_a_link_without_an_end_has_no_end() {
    let plain = LinkFacts { kind: LinkKind::Plain, ends_ms: NO_END_MS, ..facts() };
    let event = event_of(&click(), Some(&plain), DuplicateVerdict::First);
    assert!(event.contains(r#""link_created_at_ms":1793491200000,"creator_id""#), "{event}");
}

/// `WAYPOST_BLESS=1` writes the golden files anew; a reviewer judges the difference.
#[test]
fn events_are_byte_for_byte_the_golden_files() {
    for (name, event) in goldens() {
        let path = fixture("tests/fixtures/events").join(format!("{name}.json"));
        if std::env::var_os("WAYPOST_BLESS").is_some() {
            std::fs::write(&path, format!("{event}\n")).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(format!("{event}\n"), golden, "{name}");
    }
}

#[test]
fn every_golden_event_is_valid_by_the_schema_and_names_only_known_fields() {
    let schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("deploy/schemas/click.v1.schema.json")).unwrap()).unwrap();
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("click.json", schema.clone()).unwrap();
    let compiled = compiler.compile("click.json", &mut schemas).unwrap();
    let known = schema["properties"].as_object().unwrap();
    let mut used = std::collections::BTreeSet::new();
    for (name, event) in goldens() {
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        if let Err(why) = schemas.validate(&event, compiled) {
            panic!("{name}: {why:#}");
        }
        for key in event.as_object().unwrap().keys() {
            assert!(known.contains_key(key), "{name}: {key} is not in the schema");
            used.insert(key.clone());
        }
    }
    // Every field of the schema is in a golden event, apart from fields that are encoded like others.
    let unshown: Vec<&String> = known
        .keys()
        .filter(|key| {
            !used.contains(*key)
                && !["sub3", "sub5", "app_package", "campaign_id", "utm_campaign"].contains(&key.as_str())
        })
        .collect();
    assert!(unshown.is_empty(), "{unshown:?}");
}

/// The figure of the documents and of this module's header: the size of an ordinary click in Kafka and in click files.
#[test]
fn an_ordinary_click_is_about_1700_bytes() {
    let (_, event) = goldens().swap_remove(1);
    assert!((1_650..1_800).contains(&event.len()), "{}", event.len());
}

#[test]
fn a_stub_has_only_the_identity_of_its_click_and_a_click_has_no_reason() {
    let schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("deploy/schemas/click.v1.schema.json")).unwrap()).unwrap();
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("click.json", schema).unwrap();
    let compiled = compiler.compile("click.json", &mut schemas).unwrap();
    let events: std::collections::HashMap<&str, String> = goldens().into_iter().collect();
    let valid = |name: &str, key: &str, value: serde_json::Value| {
        let mut event: serde_json::Value = serde_json::from_str(&events[name]).unwrap();
        event[key] = value;
        schemas.validate(&event, compiled).is_ok()
    };
    assert!(valid("dead_lettered", "reason", "invalid".into()) && valid("ordinary", "status", 302.into()));
    assert!(!valid("dead_lettered", "reason", "not_authorized".into()));
    assert!(!valid("dead_lettered", "outcome", "redirected".into()));
    assert!(!valid("dead_lettered", "type", "click".into()));
    assert!(!valid("ordinary", "reason", "invalid".into()));
    assert!(!valid("ordinary", "type", "dead_lettered".into()));
}

#[test]
fn no_key_appears_twice_and_the_token_is_its_placeholder() {
    for (name, event) in goldens() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&event).unwrap();
        // serde_json keeps the last of two, so a doubled key shows in the count of top-level keys.
        assert_eq!(object.keys().count(), event.matches("\":").count() - inner_colons(&object), "{name}");
        if object.get("token_placed") == Some(&true.into()) {
            assert!(object["destination"].as_str().unwrap().contains("{click_token}"), "{name}");
        }
    }
}

fn inner_colons(object: &serde_json::Map<String, serde_json::Value>) -> usize {
    object.values().map(|value| value.to_string().matches("\":").count()).sum()
}

#[test]
fn the_host_of_a_web_url_is_found_without_its_port() {
    assert_eq!(find_host_of_http_url_or_empty(b"https://shop.example.com/view"), b"shop.example.com");
    assert_eq!(find_host_of_http_url_or_empty(b"http://shop.example.com:8443?x=http://y/"), b"shop.example.com");
    assert_eq!(find_host_of_http_url_or_empty(b"https://[2001:db8::1]:8443/"), b"[2001:db8::1]");
    assert_eq!(find_host_of_http_url_or_empty(b"https://[2001:db8::1]/"), b"[2001:db8::1]");
    assert_eq!(find_host_of_http_url_or_empty(b"shopapp://product/1"), b"");
}

proptest::proptest! {
    /// The event of any request is one line of JSON.
    #[test]
    fn any_bytes_make_one_line_of_json(
        texts in proptest::collection::vec(proptest::collection::vec(0u8.., 0..80), Text::COUNT),
        at in 0u16..100,
    ) {
        let mut click = click();
        texts.iter().enumerate().for_each(|(index, text)| click.texts[index] = text.as_slice());
        click.token_at = Some(at);
        let event = event_of(&click, None, DuplicateVerdict::First);
        proptest::prop_assert!(!event.contains('\n'));
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&event).unwrap();
    }
}
