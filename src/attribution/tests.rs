//! Tokens through the module's public interface; its cookies and key rings in files of their own.

mod cookies;
mod key_rings;

use std::path::Path;

use hkdf::Hkdf;
use proptest::prelude::*;
use serde::Deserialize;
use sha2::Sha256;

use super::{
    ATTRIBUTION_WINDOW_MS, UrlKeyCache,
    claims::{CookieClaims, UrlClaims, UrlFlags},
    click_id::ClickId,
    cookie::find_cookie_values,
    entropy::EntropySource,
    file,
    key_scope::KeyScope,
    keyring::Keyring,
    token::{self, MAX_AHEAD_MS, PayloadBuffer, TokenError},
    url_keys::UrlKeys,
};

/// 2026-11-15T00:00:00Z
const NOW: u64 = 1_794_700_800_000;
const HOUR: u64 = 3_600_000;
const SELLER: KeyScope<'static> = KeyScope::Seller("s_311");

fn golden_ring() -> Keyring {
    Keyring::parse(Path::new("golden"), include_bytes!("../../tests/fixtures/token_ring.json")).unwrap()
}

fn fresh_ring(dir: &Path) -> Keyring {
    Keyring::load_or_create_file_with_new_key(&dir.join(file::FILE_NAME), NOW).unwrap()
}

fn id_at(ms: u64) -> [u8; 16] {
    ClickId::mint(ms, &[7; 10]).0
}

fn cookie_at(ms: u64) -> CookieClaims<'static> {
    CookieClaims { visitor: [9; 16], click_id: id_at(ms), domain: b"go.brand.example", code: b"7Kq2ZpXa" }
}

fn url_at(ms: u64) -> UrlClaims<'static> {
    UrlClaims { click_id: id_at(ms), domain: b"*", code: b"7Kq2ZpXa", flags: UrlFlags::NAVIGATION }
}

fn cookie_token(ring: &Keyring, claims: &CookieClaims<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    ring.sign_and_append_cookie_token(NOW, claims, &mut out);
    out
}

fn url_token(ring: &Keyring, scope: KeyScope<'_>, claims: &UrlClaims<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    ring.sign_and_append_url_token_and_return_key_id(&mut UrlKeyCache::default(), NOW, scope, claims, &mut out);
    out
}

fn cookie_error(ring: &Keyring, now_ms: u64, token: &[u8]) -> Option<TokenError> {
    ring.verify_cookie_token(now_ms, token, &mut PayloadBuffer::default()).err()
}

fn url_error(ring: &Keyring, scope: KeyScope<'_>, token: &[u8]) -> Option<TokenError> {
    ring.verify_url_token(NOW, scope, token, &mut PayloadBuffer::default()).err()
}

/// A token of another implementation (Python's `hmac` and `hashlib`, from the two module headers).
#[derive(Deserialize)]
struct Golden {
    kind: String,
    signed_by: String,
    #[serde(default)]
    visitor: String,
    #[serde(default)]
    audience_kind: String,
    #[serde(default)]
    audience: String,
    click_id: String,
    domain: String,
    code: String,
    #[serde(default)]
    flags: u8,
    token: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_tokens_of_another_implementation_are_verified_and_signed_alike() {
    let ring = golden_ring();
    let lines = include_str!("../../tests/fixtures/token_golden.jsonl").lines();
    for golden in lines.map(|line| serde_json::from_str::<Golden>(line).unwrap()) {
        let mut payload = PayloadBuffer::default();
        let is_signing_key = golden.signed_by == "FiHrAYZq";
        if golden.kind == "cookie" {
            let claims = ring.verify_cookie_token(NOW, golden.token.as_bytes(), &mut payload).unwrap();
            assert_eq!((hex(&claims.visitor), hex(&claims.click_id)), (golden.visitor, golden.click_id));
            assert_eq!((claims.domain, claims.code), (golden.domain.as_bytes(), golden.code.as_bytes()));
            assert_eq!(cookie_token(&ring, &claims) == golden.token.as_bytes(), is_signing_key);
        } else {
            let scope = KeyScope::from_kind_word(&golden.audience_kind, &golden.audience).unwrap();
            let claims = ring.verify_url_token(NOW, scope, golden.token.as_bytes(), &mut payload).unwrap();
            assert_eq!(hex(&claims.click_id), golden.click_id);
            assert_eq!((claims.domain, claims.code), (golden.domain.as_bytes(), golden.code.as_bytes()));
            let flags = [UrlFlags::NAVIGATION, UrlFlags::GPC, UrlFlags::UNRECORDED].map(|flag| claims.flags.has(flag));
            assert_eq!(flags, [1, 2, 4].map(|bit| golden.flags & bit != 0));
            assert_eq!(url_token(&ring, scope, &claims), golden.token.as_bytes());
        }
    }
}

#[test]
fn url_keys_are_hkdf_over_kind_and_name() {
    let ring = golden_ring();
    let secret: Vec<u8> = (64..112).collect();
    let mut key = [0; 32];
    let info = [&b"waypost token v1 url\0\x01"[..], b"s_311"].concat();
    Hkdf::<Sha256>::new(Some(b"waypost key ring v1"), &secret).expand(&info, &mut key).unwrap();
    assert_eq!(ring.derive_and_export_url_keys(SELLER).keys[0].key.bytes(), key);
    let other = |scope| ring.derive_and_export_url_keys(scope).keys[0].key.bytes().to_vec();
    assert_ne!(other(KeyScope::Partner("s_311")), key);
    assert_ne!(other(KeyScope::Domain("s_311")), key);
}

#[test]
fn usual_payloads_fit_one_hash_block() {
    let ring = golden_ring();
    let payload_len = |token: Vec<u8>| token.split(|byte| *byte == b'.').nth(2).unwrap().len() * 3 / 4;
    let cookie = CookieClaims { domain: b"go.brand.shop", ..cookie_at(NOW) };
    assert!(payload_len(cookie_token(&ring, &cookie)) <= 55);
    let url = UrlClaims { domain: b"go.brand.example", ..url_at(NOW) };
    assert!(payload_len(url_token(&ring, KeyScope::Seller("seller_48213"), &url)) <= 55);
}

#[test]
fn the_longest_claims_fit_their_bounds_and_come_back() {
    let ring = golden_ring();
    let (domain, code, seller) = ([b'd'; 255], [b'c'; 64], "s".repeat(255));
    let cookie = CookieClaims { domain: &domain, code: &code, ..cookie_at(NOW) };
    let token = cookie_token(&ring, &cookie);
    assert!(token.len() <= 505, "{}", token.len());
    assert_eq!(ring.verify_cookie_token(NOW, &token, &mut PayloadBuffer::default()), Ok(cookie));
    let url = UrlClaims { domain: &domain, code: &code, ..url_at(NOW) };
    let token = url_token(&ring, KeyScope::Seller(&seller), &url);
    assert_eq!(ring.verify_url_token(NOW, KeyScope::Seller(&seller), &token, &mut PayloadBuffer::default()), Ok(url));
}

#[test]
fn a_token_is_good_for_its_14_days_and_a_day_ahead_of_the_clock() {
    let ring = golden_ring();
    let token = cookie_token(&ring, &cookie_at(NOW));
    for (now, want) in [
        (NOW, None),
        (NOW + ATTRIBUTION_WINDOW_MS - 1, None),
        (NOW + ATTRIBUTION_WINDOW_MS, Some(TokenError::Expired)),
        (NOW - MAX_AHEAD_MS, None),
        (NOW - MAX_AHEAD_MS - 1, Some(TokenError::Expired)),
    ] {
        assert_eq!(cookie_error(&ring, now, &token), want, "{now}");
    }
    let late = NOW + ATTRIBUTION_WINDOW_MS;
    assert_eq!(ring.verify_cookie_token_of_any_age(late, &token, &mut PayloadBuffer::default()), Ok(cookie_at(NOW)));
}

#[test]
fn no_token_verifies_as_another_kind_or_for_another_scope_or_ring() {
    let dir = tempfile::tempdir().unwrap();
    let (ring, other) = (golden_ring(), fresh_ring(dir.path()));
    let (cookie, url) = (cookie_token(&ring, &cookie_at(NOW)), url_token(&ring, SELLER, &url_at(NOW)));
    assert_eq!(url_error(&ring, SELLER, &url), None);
    assert_eq!(cookie_error(&ring, NOW, &url), Some(TokenError::BadMac));
    assert!(url_error(&ring, SELLER, &cookie).is_some());
    for scope in [KeyScope::Seller("s_312"), KeyScope::Partner("s_311"), KeyScope::Domain("s_311")] {
        assert_eq!(url_error(&ring, scope, &url), Some(TokenError::WrongScope));
        assert_eq!(
            ring.derive_and_export_url_keys(scope).verify_token(NOW, &url, &mut PayloadBuffer::default()),
            Err(TokenError::BadMac)
        );
    }
    assert_eq!(cookie_error(&other, NOW, &cookie), Some(TokenError::UnknownKey));
    assert_eq!(url_error(&other, SELLER, &url), Some(TokenError::UnknownKey));
}

#[test]
fn a_shop_verifies_its_own_tokens_with_its_exported_keys_alone() {
    let ring = golden_ring();
    let exported = serde_json::to_string(&ring.derive_and_export_url_keys(SELLER)).unwrap();
    let shop: UrlKeys = serde_json::from_str(&exported).unwrap();
    let token = url_token(&ring, SELLER, &url_at(NOW));
    let mut payload = PayloadBuffer::default();
    assert_eq!(shop.verify_token_of_any_age(NOW, &token, &mut payload), Ok((url_at(NOW), SELLER)));
    assert_eq!(shop.verify_token(NOW + ATTRIBUTION_WINDOW_MS, &token, &mut payload), Err(TokenError::Expired));
}

#[test]
fn the_url_key_cache_gives_the_same_keys_full_or_empty_and_follows_the_ring() {
    let dir = tempfile::tempdir().unwrap();
    let (ring, other) = (golden_ring(), fresh_ring(dir.path()));
    let mut cache = UrlKeyCache::default();
    for round in 0..3 {
        for seller in 0..5000 {
            let name = format!("s_{seller}");
            let mut token = Vec::new();
            let id = ring.sign_and_append_url_token_and_return_key_id(
                &mut cache,
                NOW,
                KeyScope::Seller(&name),
                &url_at(NOW),
                &mut token,
            );
            assert_eq!(&id, b"FiHrAYZq");
            if seller % 500 == 0 {
                assert_eq!(url_error(&ring, KeyScope::Seller(&name), &token), None, "{round} {name}");
            }
        }
        let mut token = Vec::new();
        other.sign_and_append_url_token_and_return_key_id(&mut cache, NOW, SELLER, &url_at(NOW), &mut token);
        assert_eq!(url_error(&other, SELLER, &token), None);
    }
}

#[test]
fn a_token_is_found_in_any_text_and_nothing_else_is() {
    let token = String::from_utf8(url_token(&golden_ring(), SELLER, &url_at(NOW))).unwrap();
    for (before, behind) in
        [("", ""), ("wp=", "&a=b"), ("https://a.example/", "/x"), ("v1.v1.", "%20"), ("u%3Dv1..", "")]
    {
        let text = format!("{before}{token}{behind}");
        assert_eq!(
            token::find_token_in_text(text.as_bytes()),
            Some(before.len()..before.len() + token.len()),
            "{text}"
        );
    }
    let shortest = format!("v1.abcdefgh.x.{}", "m".repeat(22));
    assert_eq!(shortest.len(), token::MIN_TOKEN_LEN);
    assert_eq!(token::find_token_in_text(shortest.as_bytes()), Some(0..shortest.len()));
    for text in ["", "v1.", "v1.abcdefgh.", "v1.abcdefgh.x.short", "v1.10.0", &token[..token.len() - 1], &token[1..]] {
        assert_eq!(token::find_token_in_text(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn click_ids_are_uuid_v7_in_the_order_of_their_time() {
    let mut entropy = EntropySource::from_system().unwrap();
    let (first, second) = (entropy.draw_random_click_entropy(), entropy.draw_random_click_entropy());
    assert_ne!(first, second);
    let (a, b) = (ClickId::mint(NOW, &first.click_id), ClickId::mint(NOW + 1, &second.click_id));
    assert!(a < b && a.text() < b.text());
    assert_eq!((a.timestamp_ms(), b.timestamp_ms()), (NOW, NOW + 1));
    let id = uuid::Uuid::try_parse_ascii(&a.text()).unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    assert_eq!(ClickId::parse(&a.text()), Some(a));
}

fn any_kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("domain"), Just("seller"), Just("partner")]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let ring = golden_ring();
        prop_assert!(cookie_error(&ring, NOW, &bytes).is_some());
        prop_assert!(url_error(&ring, SELLER, &bytes).is_some());
        find_cookie_values([&bytes[..]], "wp").count();
    }

    #[test]
    fn any_payload_under_a_known_key_is_read_without_a_panic(
        payload in "[A-Za-z0-9_-]{0,120}", mac in "[A-Za-z0-9_-]{21}"
    ) {
        let token = format!("v1.FiHrAYZq.{payload}.{mac}A");
        prop_assert!(cookie_error(&golden_ring(), NOW, token.as_bytes()).is_some());
        prop_assert!(url_error(&golden_ring(), SELLER, token.as_bytes()).is_some());
    }

    #[test]
    fn claims_come_back_as_they_were_signed(
        visitor: [u8; 16], random: [u8; 10], domain in "[a-z.*]{0,60}", code in "[0-9A-Za-z_-]{1,64}",
        kind in any_kind(), name in "\\PC{0,40}", flags in proptest::collection::vec(any::<bool>(), 3),
    ) {
        let ring = golden_ring();
        let click_id = ClickId::mint(NOW, &random).0;
        let cookie = CookieClaims { visitor, click_id, domain: domain.as_bytes(), code: code.as_bytes() };
        let token = cookie_token(&ring, &cookie);
        let mut payload = PayloadBuffer::default();
        prop_assert_eq!(ring.verify_cookie_token(NOW, &token, &mut payload), Ok(cookie));
        // A domain's scope is its own name, and a seller or a partner has one.
        let name = if kind == "domain" || name.is_empty() { &domain } else { &name };
        prop_assume!(kind == "domain" || !name.is_empty());
        let scope = KeyScope::from_kind_word(kind, name).unwrap();
        let (domain, code) = (domain.as_bytes(), code.as_bytes());
        let mut url = UrlClaims { click_id, domain, code, flags: UrlFlags::default() };
        url.flags.set_if(UrlFlags::NAVIGATION, flags[0]);
        url.flags.set_if(UrlFlags::GPC, flags[1]);
        url.flags.set_if(UrlFlags::UNRECORDED, flags[2]);
        let token = url_token(&ring, scope, &url);
        prop_assert_eq!(ring.verify_url_token(NOW, scope, &token, &mut payload), Ok(url));
        prop_assert!(token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)));
    }

    #[test]
    fn a_changed_or_shortened_token_is_never_taken(at in 0usize..200, byte: u8, keep in 0usize..200, as_url: bool) {
        let ring = golden_ring();
        let token = if as_url { url_token(&ring, SELLER, &url_at(NOW)) } else { cookie_token(&ring, &cookie_at(NOW)) };
        let refused = |token: &[u8]| match as_url {
            true => url_error(&ring, SELLER, token).is_some(),
            false => cookie_error(&ring, NOW, token).is_some(),
        };
        let mut changed = token.clone();
        let at = at % token.len();
        changed[at] = byte;
        prop_assert!(changed == token || refused(&changed));
        prop_assert!(refused(&token[..keep % token.len()]));
        let longer = [&token[..], &[byte]].concat();
        prop_assert!(refused(&longer));
    }
}
