//! Fuzz targets: each function takes any bytes, gives them to a parser of the product, and panics if the parser breaks
//! a promise. libFuzzer runs them (`tests/fuzz/run.sh`), and `cargo test` runs them over `tests/fuzz/corpus`. No other
//! build has them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::{io::Cursor, net::IpAddr, path::Path, sync::LazyLock};

use http::{HeaderMap, HeaderValue, Request};

pub use crate::sinks::kafka::assert_decoded_checkpoint_survives_encoding as checkpoint;
use crate::{
    access_log::{self, BoundedLines, LogLine, MAX_LINE_LEN},
    attribution::{
        UrlKeyCache,
        claims::{CookieClaims, UrlClaims, UrlFlags},
        cookie,
        key_scope::KeyScope,
        keyring::Keyring,
        token::{self, PayloadBuffer},
    },
    client::{
        address::{AddressHeader, ClientAddress, TrustedProxies},
        request_facts::RequestFacts,
    },
    edge::target::{MAX_SEGMENT_LEN, RequestTarget},
    events::protobuf_reader::value_as_json,
    import::{CreatedAt, HtmlEntities, ImportOptions, ImportRules, Importer, Placeholders, RowOutcome, format::Format},
    links::{
        Link, ValidLink,
        destination::{PlaceholderValues, UrlTemplate},
        domains::{self, Domains},
        next_hop::{NextHopBasis, NextHopHosts, check_and_build_next_hop_template},
        routes::{Routes, SUB_COUNT},
    },
    model::{
        click::{AddressSource, Click, Flags, MAX_ROUTE_LEN, Text},
        link::{LinkFacts, record::Record},
    },
    net::{
        peer::{Peer, TrustedNetworks},
        proxy_protocol::{self, HeaderParse},
    },
    text::cut_at_character,
};

/// A fuzz target: its name and its function.
pub type NamedTarget = (&'static str, fn(&[u8]));

/// Every target. Its corpus directory and its file in `tests/fuzz/targets` have its name.
pub const TARGETS: &[NamedTarget] = &[
    ("links", links),
    ("imports", imports),
    ("journal_frames", journal_frames),
    ("tokens", tokens),
    ("cookies", cookies),
    ("forwarded", forwarded),
    ("target", target),
    ("proxy", proxy),
    ("checkpoint", checkpoint),
    ("routes", routes),
    ("next_hop", next_hop),
    ("access_log", access_log),
    ("click_value", click_value),
];

/// A time at which every token of `token_golden.jsonl` is valid, milliseconds since the epoch.
const NOW: u64 = 1_794_700_800_000;

static RING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(Path::new("golden"), include_bytes!("../tests/fixtures/token_ring.json")).unwrap());

/// A line of a links file: the facts of a link that loads can be decoded, and its destination is a valid header for any
/// query.
pub fn links(line: &[u8]) {
    static DOMAINS: LazyLock<Domains> = LazyLock::new(|| {
        Domains::new(&toml::from_str("[\"go.example.com\"]\ncase_insensitive = true").unwrap()).unwrap()
    });
    let Ok(record) = serde_json::from_slice::<Record>(line) else { return };
    let Ok(ValidLink { link, .. }) = Link::check_and_build_from_record(&record, &Default::default(), &DOMAINS, NOW, 9)
    else {
        return;
    };
    assert!(LinkFacts::decode(link.facts()).is_some(), "encoded facts can be decoded");
    assert!(!link.code().is_empty() && link.code().len() <= 64);
    let template = link.url_template();
    for token in [None, Some(&b"v1.token"[..])] {
        let values = PlaceholderValues { click_id: b"0190a0", token, query: b"sub1=%0d%0a&a=b%", token_param: b"wp" };
        let mut out = Vec::new();
        template.render_and_return_token_offset(&values, &mut out);
        assert!(HeaderValue::from_bytes(&out).is_ok(), "a destination is a header value");
    }
    url::Url::parse(&template.to_url_text_with_placeholders()).expect("a destination is a URL");
}

/// The export of another shortener, behind a byte that chooses the format: each record that an import accepts is one
/// that a links file may have.
pub fn imports(bytes: &[u8]) {
    static DOMAINS: LazyLock<Domains> = LazyLock::new(|| {
        Domains::new(&toml::from_str("[\"go.example.com\"]\n[\"fold.example.com\"]\ncase_insensitive = true").unwrap())
            .unwrap()
    });
    let Some((first, file)) = bytes.split_first() else { return };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    let rules = ImportRules { policy: &Default::default(), domains: &DOMAINS, now_ms: NOW };
    let mut importer = Importer::new(&import_options(format, first & 0x80 != 0), rules, 1).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    let result = importer.read_file(&mut Cursor::new(file), &mut |outcome| {
        match outcome {
            RowOutcome::Refused(row) => {
                refused += 1;
                assert!(!row.mistakes.is_empty(), "a refused row says why");
            }
            RowOutcome::Accepted(row) => {
                accepted += 1;
                for record in row.records {
                    let line = serde_json::to_string(&record).unwrap();
                    let again: Record = serde_json::from_str(&line).expect("a record is a line of a links file");
                    let link = Link::check_and_build_from_record(&again, rules.policy, rules.domains, NOW, 1);
                    assert!(link.is_ok(), "{line}");
                }
            }
        }
        Ok(())
    });
    if result.is_ok()
        && let Ok(summary) = importer.finish()
    {
        assert_eq!((summary.accepted_rows, summary.refused_rows), (accepted, refused));
    }
}

/// Options with which every format can be read.
fn import_options(format: Format, keeps_placeholders: bool) -> ImportOptions {
    let assignments = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let is_table = format == Format::Csv;
    let has_no_times = [Format::Csv, Format::ShlinkCsv, Format::ThirstyAffiliatesCsv].contains(&format);
    ImportOptions {
        format,
        map_host: assignments(&["links.example.net=go.example.com", "s2.example.net=fold.example.com"]),
        domain: Some("fold.example.com".to_owned()),
        zone: Some(jiff::tz::TimeZone::get("Europe/Berlin").unwrap()),
        created_at: has_no_times.then_some(CreatedAt::Now),
        defaults: assignments(&["kind=plain"]),
        take: Vec::new(),
        drop: Vec::new(),
        ignore_column: Vec::new(),
        strip_prefix: Some("go/".to_owned()),
        placeholders: if keeps_placeholders { Placeholders::Keep } else { Placeholders::Escape },
        html_entities: if keeps_placeholders { HtmlEntities::Decode } else { HtmlEntities::Refuse },
        separator: if is_table { ';' } else { ',' },
        column: if is_table { assignments(&["code=Code", "url=Product link", "expires_at=Until"]) } else { Vec::new() },
        date_format: is_table.then(|| "%d.%m.%Y %H:%M".to_owned()),
        table: None,
        allow_partial: true,
        allow_empty: true,
    }
}

/// The bytes of a lane, as recovery reads them, and of a click, as `events` decodes it.
pub fn journal_frames(bytes: &[u8]) {
    crate::journal::fuzz_frames(bytes);
    if let Ok(mut click) = Click::decode(bytes) {
        let mut again = Vec::new();
        click.encode(&mut again);
        // The encoder cuts texts, the decoder does not.
        for (text, max_len) in click.texts.iter_mut().zip(Text::MAX_LENS) {
            click.flags.set_if(Flags::TRUNCATED, text.len() > max_len);
            *text = cut_at_character(text, max_len);
        }
        click.route = cut_at_character(click.route, MAX_ROUTE_LEN);
        assert_eq!(Click::decode(&again).as_ref(), Ok(&click), "a click that is encoded again is the same");
    }
}

/// A token of a client: any bytes are verified without a panic, and claims that are signed come back as they were.
pub fn tokens(text: &[u8]) {
    let mut buffer = PayloadBuffer::default();
    let ring = &*RING;
    token::find_unverified_click_id(text);
    let seller = KeyScope::Seller("s_311");
    if ring.verify_cookie_token(NOW, text, &mut buffer).is_ok() {
        assert!(ring.verify_cookie_token_of_any_age(NOW, text, &mut buffer).is_ok(), "a valid token is genuine");
    }
    if ring.verify_url_token(NOW, seller, text, &mut buffer).is_ok() {
        assert!(ring.verify_url_token_of_any_age(NOW, text, &mut buffer).is_ok(), "a valid token is genuine");
        assert!(
            ring.derive_and_export_url_keys(seller).verify_token(NOW, text, &mut buffer).is_ok(),
            "the shop's keys verify what the ring verifies"
        );
    }
    let Some((click_id, rest)) = text.split_first_chunk::<16>() else { return };
    let (code, domain) = rest.split_at(rest.len().min(64));
    let domain = &domain[..domain.len().min(255)];
    let cookie = CookieClaims { visitor: *click_id, click_id: *click_id, domain, code };
    let mut signed = Vec::new();
    ring.sign_and_append_cookie_token(NOW, &cookie, &mut signed);
    if signed.len() <= 512 {
        assert_eq!(ring.verify_cookie_token_of_any_age(NOW, &signed, &mut buffer), Ok(cookie));
    }
    let url = UrlClaims { click_id: *click_id, domain, code, flags: UrlFlags::GPC };
    signed.clear();
    ring.sign_and_append_url_token_and_return_key_id(&mut UrlKeyCache::default(), NOW, seller, &url, &mut signed);
    assert_eq!(ring.verify_url_token_of_any_age(NOW, &signed, &mut buffer).map(|(claims, _)| claims), Ok(url));
}

/// `Cookie` headers, one a line: the attribution cookies are found as by a simple parser, and any value is verified
/// without a panic.
pub fn cookies(lines: &[u8]) {
    let headers = || lines.split(|byte| *byte == b'\n');
    let name = format!("{}=", cookie::HOST_COOKIE);
    let pairs = headers().flat_map(|line| line.split(|byte| *byte == b';'));
    let named: Vec<&[u8]> = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())).collect();
    let found: Vec<&[u8]> = cookie::find_cookie_values(headers(), cookie::HOST_COOKIE).collect();
    assert_eq!(found, named);
    RING.find_and_verify_cookie(NOW, headers(), cookie::HOST_COOKIE, &mut PayloadBuffer::default());
    RequestFacts::read_all_headers(&header_map_of_valid_lines("cookie", lines));
}

/// `X-Forwarded-For` and `Forwarded`, one a line: for any value of the client, the address that the trusted proxy
/// appends counts.
pub fn forwarded(lines: &[u8]) {
    static PROXIES: LazyLock<TrustedNetworks> =
        LazyLock::new(|| TrustedNetworks::parse(&["10.0.0.0/8", "fd00::/8"]).unwrap());
    let (proxy, stranger, client) = (ip("10.0.0.1"), ip("192.0.2.1"), ip("203.0.113.9"));
    for (header, name, added) in [
        (AddressHeader::XForwardedFor, "x-forwarded-for", ", 203.0.113.9"),
        (AddressHeader::Forwarded, "forwarded", ", for=203.0.113.9"),
    ] {
        let proxies = TrustedProxies { networks: PROXIES.clone(), header, ..TrustedProxies::default() };
        let headers = header_map_of_valid_lines(name, lines);
        let untrusted = proxies.client_address(&headers, Peer::from_network(stranger));
        let expected = ClientAddress { address: stranger, source: AddressSource::Peer };
        assert_eq!(untrusted, expected, "a header from a peer that is no trusted proxy is ignored");
        let found = proxies.client_address(&headers, Peer::from_network(proxy));
        assert!(found.source != AddressSource::Peer || found.address == proxy);
        let headers = header_map_of_valid_lines(name, &[lines, added.as_bytes()].concat());
        // A line that is no header value is not in the map, and the appended address neither.
        if headers.get_all(name).iter().next_back().is_some_and(|line| line.as_bytes().ends_with(added.as_bytes())) {
            let found = proxies.client_address(&headers, Peer::from_network(proxy));
            assert_eq!(found.address, client, "the address that the proxy appended counts");
        }
    }
}

/// The first bytes of a connection: a PROXY protocol header is bounded and inside the bytes, and each shorter part of
/// it is incomplete.
pub fn proxy(bytes: &[u8]) {
    let HeaderParse::Complete { len, .. } = proxy_protocol::parse_header(bytes) else { return };
    assert!(len <= 536 && len <= bytes.len(), "{len} bytes");
    assert_eq!(
        proxy_protocol::parse_header(&bytes[..len]),
        proxy_protocol::parse_header(bytes),
        "what follows changes nothing"
    );
    for cut in 0..len {
        assert_eq!(proxy_protocol::parse_header(&bytes[..cut]), HeaderParse::Incomplete, "cut at {cut}");
    }
}

/// Method, target and hosts, one a line: the requested code is bounded and decoded once, and the host is valid.
pub fn target(lines: &[u8]) {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else { return };
    let mut request = Request::builder().method(method).uri(target);
    for host in lines {
        request = request.header("host", host);
    }
    let Ok(request) = request.body(()) else { return };
    let domains = Domains::new(&domains::Config::default()).unwrap();
    let RequestTarget::Code(requested) = RequestTarget::reject_or_classify_and_find_domain(&request, &domains) else {
        return;
    };
    let code = requested.code.as_bytes();
    assert!(code.len() <= MAX_SEGMENT_LEN && target.len() >= code.len());
    let host = requested.host.name;
    assert!(!host.is_empty() && host.len() <= 255);
    assert!(host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte)), "{host:?}");
    let path = request.uri().path().as_bytes();
    let decoded_once: Vec<u8> = percent_encoding::percent_decode(&path[1..]).take(MAX_SEGMENT_LEN).collect();
    assert_eq!(code, decoded_once);
}

/// Path and query of a request, one a line: a route that matches makes a code, and the same one once more with a
/// parameter behind that no route reads.
pub fn routes(lines: &[u8]) {
    static ROUTES: LazyLock<Vec<Routes>> = LazyLock::new(|| {
        let config = include_str!("../tests/fixtures/routes/routes.toml").parse::<toml::Table>().unwrap();
        let written = config["routes"].as_array().unwrap();
        let numbered = written.iter().zip(1..).map(|(route, number): (_, u32)| (number.to_string(), route.clone()));
        let routes = toml::Value::Table(numbered.collect()).try_into().unwrap();
        let mut config = domains::Config::default();
        config.add_routes(&routes);
        Domains::new(&config).unwrap().all().iter().map(|domain| domain.routes.clone()).collect()
    });
    let (path, query) = match memchr::memchr(b'\n', lines) {
        Some(at) => (&lines[..at], &lines[at + 1..]),
        None => (lines, &[][..]),
    };
    for routes in ROUTES.iter() {
        let Some((route, found)) = routes.find_match(path, query) else { continue };
        assert!((1..=64).contains(&found.code.as_bytes().len()), "a code");
        assert!(found.subs.iter().all(|sub| sub.len() <= lines.len()) && found.subs.len() == SUB_COUNT);
        let more = [query, b"&nobody_reads_this=https://evil.example"].concat();
        assert_eq!(
            routes.find_match(path, &more).map(|(again, found)| (again.name(), found)),
            Some((route.name(), found))
        );
    }
}

/// An access log: each line is read without a panic and in bounded memory, and a target that is found can be asked for.
pub fn access_log(bytes: &[u8]) {
    let mut lines = BoundedLines::new(bytes);
    let mut count = 0;
    while let Some(line) = lines.read_next().unwrap() {
        count += 1;
        let LogLine::Whole(line) = line else { continue };
        assert!(line.len() <= MAX_LINE_LEN);
        if let Some(entry) = access_log::parse_line(line)
            && !entry.method.is_empty()
        {
            assert!(entry.target.starts_with('/'), "{entry:?}");
            assert!(entry.location.is_none_or(|location| location.contains("://")));
        }
    }
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(count, ends + usize::from(bytes.last().is_some_and(|last| *last != b'\n')));
}

/// The value of a record on the topics of clicks: what is read as Protobuf is one line of JSON, an object with a field.
pub fn click_value(value: &[u8]) {
    let mut buffer = Vec::new();
    let json = value_as_json(value, &mut buffer);
    if json != value {
        assert!(!json.contains(&b'\n'), "one line");
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).expect("an object");
        assert!(json == b"{}" || !object.is_empty());
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A map with one header for each line that is a header value.
fn header_map_of_valid_lines(name: &'static str, lines: &[u8]) -> HeaderMap {
    let values = lines.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    values.take(1000).for_each(|value| _ = headers.append(name, value));
    headers
}

/// A URL that a click names as its next hop: a browser that follows what is made of it asks a listed host by `https`.
pub fn next_hop(url: &[u8]) {
    static DOMAINS: LazyLock<Domains> =
        LazyLock::new(|| Domains::new(&toml::from_str("[\"own.example.org\"]").unwrap()).unwrap());
    let Ok(url) = str::from_utf8(url) else { return };
    let domain = DOMAINS.find_by_name("own.example.org").unwrap();
    let hosts = NextHopHosts::from_bytes(b"shop.example.com *.example.org");
    let basis = NextHopBasis::Listed(hosts);
    let Ok(template) = check_and_build_next_hop_template(url, basis, domain, &DOMAINS) else { return };
    let text = str::from_utf8(UrlTemplate::from_bytes(&template).text_without_placeholders()).unwrap();
    HeaderValue::from_str(text).unwrap();
    let read_by_browser = url::Url::parse(text).unwrap();
    let host = read_by_browser.host_str().unwrap();
    assert!(host == "shop.example.com" || host.ends_with(".example.org") && host != "own.example.org", "{host}");
    assert_eq!((read_by_browser.scheme(), read_by_browser.port(), read_by_browser.username()), ("https", None, ""));
    assert_eq!(read_by_browser.as_str(), text, "nothing is left to read in another way");
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    fn file_names(dir: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_target_passes_on_its_corpus() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(file_names(&root.join("targets")), known, "a file for each target");
        assert_eq!(file_names(&root.join("corpus")), known, "a corpus for each target");
        for (name, run) in TARGETS {
            let seeds: Vec<_> = fs::read_dir(root.join("corpus").join(name)).unwrap().collect();
            assert!(seeds.len() >= 3, "{name}: {} seeds", seeds.len());
            for seed in seeds {
                let path = seed.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                assert!(bytes.len() <= 16 << 10, "{} is larger than a seed should be", path.display());
                run(&bytes);
                // Cut at each byte, and with one bit of each byte changed: the first mutations of a fuzzer.
                for at in 0..bytes.len().min(512) {
                    run(&bytes[..at]);
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << (at % 8);
                    run(&changed);
                }
            }
        }
    }
}
