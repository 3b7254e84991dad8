//! What reads bytes of strangers and of disks, each as a function that any bytes may be given to and that panics where a promise
//! does not hold. Run by libFuzzer (`tests/fuzz/run.sh`), and by `cargo test` over `tests/fuzz/corpus`. Not in any other build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "to panic is what it is for")]

use std::{net::IpAddr, path::Path, sync::LazyLock};

use http::{HeaderMap, HeaderValue, Request};

pub use crate::shipper::fuzz_checkpoint as checkpoint;
use crate::{
    attribution::{
        keys::{Audience, Keyring, SellerKeys},
        token::{self, CookieClaims, Payload, Presented, UrlClaims, UrlFlags},
    },
    client::{self, AddressHeader, Trusted},
    edge::target::{self as edge_target, Target},
    links::{Link, destination::Fill, domains::Domains},
    model::{
        click::{AddressFrom, Click, Flags, Text},
        link::{LinkFacts, record::Record},
    },
    net::{
        peer::{Networks, Peer},
        proxy_protocol::{self, Start},
    },
};

/// A target: its name, and what takes its bytes.
pub type Named = (&'static str, fn(&[u8]));

/// Every target; a corpus directory and a file of `tests/fuzz/targets` are named like it.
pub const TARGETS: &[Named] = &[
    ("links", links),
    ("journal_frames", journal_frames),
    ("tokens", tokens),
    ("cookies", cookies),
    ("forwarded", forwarded),
    ("target", target),
    ("proxy", proxy),
    ("checkpoint", checkpoint),
];

/// When every token of `token_golden.jsonl` is good.
const NOW: u64 = 1_794_700_800_000;

static RING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(Path::new("golden"), include_bytes!("../tests/fixtures/token_ring.json")).unwrap());

/// A line of the links file: what is taken can be read back and rendered, whatever the click's query.
pub fn links(line: &[u8]) {
    static DOMAINS: LazyLock<Domains> = LazyLock::new(|| {
        Domains::new(&toml::from_str("[\"go.example.com\"]\ncase_insensitive = true").unwrap()).unwrap()
    });
    let Ok(record) = serde_json::from_slice::<Record>(line) else { return };
    let Ok((link, _)) = Link::new(&record, &Default::default(), &DOMAINS, NOW, 9) else { return };
    assert!(LinkFacts::decode(link.facts()).is_some(), "facts that were written can be read");
    assert!(!link.code().is_empty() && link.code().len() <= 64);
    let skeleton = link.skeleton();
    for token in [None, Some(&b"v1.token"[..])] {
        let fill = Fill { click_id: b"0190a0", token, query: b"sub1=%0d%0a&a=b%", token_param: b"wp" };
        let mut out = Vec::new();
        skeleton.render(&fill, &mut out);
        assert!(HeaderValue::from_bytes(&out).is_ok(), "no destination breaks out of Location");
    }
    url::Url::parse(&skeleton.template()).expect("a destination is a URL");
}

/// The bytes of a lane, as recovery walks over them, and of a click, as the shipper reads it.
pub fn journal_frames(bytes: &[u8]) {
    crate::journal::fuzz_frames(bytes);
    if let Ok(mut click) = Click::decode(bytes) {
        let mut again = Vec::new();
        click.encode(&mut again);
        // No build writes a longer text: it is read all the same, lest a click be lost, and cut where it is written.
        for (text, bound) in click.texts.iter_mut().zip(Text::BOUNDS) {
            click.flags.set_if(Flags::TRUNCATED, text.len() > bound);
            *text = &text[..text.len().min(bound)];
        }
        assert_eq!(Click::decode(&again).as_ref(), Ok(&click), "a click survives being written again");
    }
}

/// A token as it comes in a cookie or a query: garbage is refused, and what is signed for it verifies as it was.
pub fn tokens(text: &[u8]) {
    let mut into = Payload::default();
    let ring = &*RING;
    token::claimed_click_id(text);
    let seller = Audience::Seller("s_311");
    if ring.verify_cookie(NOW, text, &mut into).is_ok() {
        assert!(ring.inspect_cookie(NOW, text, &mut into).is_ok(), "what verifies can be inspected");
    }
    if ring.verify_url(NOW, seller, text, &mut into).is_ok() {
        assert!(ring.inspect_url(NOW, text, &mut into).is_ok(), "what verifies can be inspected");
        assert!(ring.url_keys(seller).verify(NOW, text, &mut into).is_ok(), "the shop's keys verify what ours do");
    }
    let Some((click_id, rest)) = text.split_first_chunk::<16>() else { return };
    let (code, domain) = rest.split_at(rest.len().min(64));
    let domain = &domain[..domain.len().min(255)];
    let cookie = CookieClaims { visitor: *click_id, click_id: *click_id, domain, code };
    let mut signed = Vec::new();
    ring.sign_cookie(NOW, &cookie, &mut signed);
    if signed.len() <= token::COOKIE_MAX {
        assert_eq!(ring.inspect_cookie(NOW, &signed, &mut into), Ok(cookie));
    }
    let url = UrlClaims { click_id: *click_id, domain, code, flags: UrlFlags::GPC };
    signed.clear();
    ring.sign_url(&mut SellerKeys::default(), NOW, seller, &url, &mut signed);
    assert_eq!(ring.inspect_url(NOW, &signed, &mut into).map(|(claims, _)| claims), Ok(url));
}

/// `Cookie` headers, a line each: found as by the plainest of readers, and read without harm.
pub fn cookies(lines: &[u8]) {
    let headers = || lines.split(|byte| *byte == b'\n');
    let name = format!("{}=", token::HOST_COOKIE);
    let pairs = headers().flat_map(|line| line.split(|byte| *byte == b';'));
    let named: Vec<&[u8]> = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())).collect();
    let expected = match named[..] {
        [] => Presented::None,
        [only] => Presented::One(only),
        _ => Presented::Duplicate,
    };
    assert_eq!(token::find_cookie(headers(), token::HOST_COOKIE), expected);
    RING.read_cookie(NOW, headers(), token::HOST_COOKIE, &mut Payload::default());
    client::Facts::read(&map("cookie", lines));
}

/// `X-Forwarded-For` and `Forwarded`, a line each: whatever a client wrote, what the trusted proxy adds on the right counts.
pub fn forwarded(lines: &[u8]) {
    static PROXIES: LazyLock<Networks> = LazyLock::new(|| Networks::parse(&["10.0.0.0/8", "fd00::/8"]).unwrap());
    let (proxy, stranger, client) = (ip("10.0.0.1"), ip("192.0.2.1"), ip("203.0.113.9"));
    for (header, name, added) in [
        (AddressHeader::XForwardedFor, "x-forwarded-for", ", 203.0.113.9"),
        (AddressHeader::Forwarded, "forwarded", ", for=203.0.113.9"),
    ] {
        let trusted = Trusted { proxies: PROXIES.clone(), header };
        let headers = map(name, lines);
        assert_eq!(
            trusted.address(&headers, Peer::at(stranger)),
            (stranger, AddressFrom::Peer),
            "a stranger's word is nothing"
        );
        let (found, from) = trusted.address(&headers, Peer::at(proxy));
        assert!(from != AddressFrom::Peer || found == proxy);
        let headers = map(name, &[lines, added.as_bytes()].concat());
        // A line that is no header value never comes, and its addition with it.
        if headers.get_all(name).iter().next_back().is_some_and(|line| line.as_bytes().ends_with(added.as_bytes())) {
            assert_eq!(trusted.address(&headers, Peer::at(proxy)).0, client, "the proxy's own word stands");
        }
    }
}

/// The first bytes of a connection: a PROXY protocol header is bounded, lies in them, and every part of it alone is one in the making.
pub fn proxy(bytes: &[u8]) {
    let Start::Header { len, .. } = proxy_protocol::read(bytes) else { return };
    assert!(len <= 536 && len <= bytes.len(), "{len} bytes");
    assert_eq!(proxy_protocol::read(&bytes[..len]), proxy_protocol::read(bytes), "what follows changes nothing");
    for cut in 0..len {
        assert_eq!(proxy_protocol::read(&bytes[..cut]), Start::Partial, "cut at {cut}");
    }
}

/// Method, target and hosts, a line each, as far as hyper lets them pass: bounded, and decoded once.
pub fn target(lines: &[u8]) {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else { return };
    let mut request = Request::builder().method(method).uri(target);
    for host in lines {
        request = request.header("host", host);
    }
    let Ok(request) = request.body(()) else { return };
    let Target::Code(asked) = edge_target::read(&request) else { return };
    assert!(asked.code.as_bytes().len() <= 65 && target.len() >= asked.code.as_bytes().len());
    let name = asked.host;
    assert!(!name.is_empty() && name.len() <= 255);
    assert!(name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte)), "{name:?}");
    let path = request.uri().path().as_bytes();
    let once: Vec<u8> = percent_encoding::percent_decode(&path[1..]).take(65).collect();
    assert_eq!(asked.code.as_bytes(), once);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The lines that a header may have as values.
fn map(name: &'static str, lines: &[u8]) -> HeaderMap {
    let values = lines.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    values.take(1000).for_each(|value| _ = headers.append(name, value));
    headers
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    fn names(dir: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_target_holds_over_its_corpus() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&root.join("targets")), known, "a file for each target");
        assert_eq!(names(&root.join("corpus")), known, "a corpus for each target");
        for (name, run) in TARGETS {
            let seeds: Vec<_> = fs::read_dir(root.join("corpus").join(name)).unwrap().collect();
            assert!(seeds.len() >= 3, "{name}: {} seeds", seeds.len());
            for seed in seeds {
                let path = seed.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                assert!(bytes.len() <= 16 << 10, "{} is no small seed", path.display());
                run(&bytes);
                // Cut anywhere, with a byte turned anywhere: cheap, and half of what a fuzzer does first.
                for at in 0..bytes.len().min(512) {
                    run(&bytes[..at]);
                    let mut turned = bytes.clone();
                    turned[at] ^= 1 << (at % 8);
                    run(&turned);
                }
            }
        }
    }
}
