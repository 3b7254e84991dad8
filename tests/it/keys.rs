//! Keys and tokens against the real process: forged, truncated, foreign and expired tokens, rotation and reload under
//! load, and one key ring for a fleet.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use waypost::attribution::{
    UrlKeyCache,
    claims::{CookieClaims, UrlClaims, UrlFlags},
    click_id::ClickId,
    key_scope::KeyScope,
    keyring::Keyring,
};

use crate::dsl::{Site, link, request, until};

/// Runs a command that must succeed, and returns its output.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `waypost keys` on the site's ring.
fn keys(site: &Site, args: &[&str]) -> String {
    let data = site.data().display().to_string();
    run(site.command(&[&["keys", "--data-dir", &data], args].concat()))
}

/// The output of `token verify` for a token, for any exit code.
fn verify_token(site: &Site, token: &str) -> Value {
    let data = site.data().display().to_string();
    let output = site.command(&["token", "verify", "--json", "--data-dir", &data, token]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The id of the key that signs now.
fn signing_key(site: &Site) -> String {
    site.get("/live", &[]).token().unwrap().split('.').nth(1).unwrap().to_owned()
}

#[test]
fn the_first_start_creates_the_ring_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = Site::with_codes(&["live"]);
    let mode = std::fs::metadata(site.data().join("keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = site.get("/live", &[]).cookie();
    site.kill();
    site.restart();
    site.get("/live", &[&format!("Cookie: {before}")]);
    until("the cookie of before the restart is valid", || {
        (site.metric("waypost_cookies_total", "state=\"valid\"") == 1.0).then_some(())
    });
}

#[test]
fn two_processes_with_one_imported_ring_accept_each_others_cookies() {
    let one = Site::with_codes(&["live"]);
    let mut two = Site::with_codes(&["live"]);
    let exported = one.path("ring.json");
    keys(&one, &["export", "--out", &exported.display().to_string()]);
    two.stop();
    keys(&two, &["import", "--replace", &exported.display().to_string()]);
    two.restart();
    for (from, to) in [(&one, &two), (&two, &one)] {
        let cookie = from.get("/live", &[]).cookie();
        to.get("/live", &[&format!("Cookie: {cookie}")]);
        until("a valid cookie", || (to.metric("waypost_cookies_total", "state=\"valid\"") == 1.0).then_some(()));
    }
    let fingerprint = |site: &Site| site.metric("waypost_keyring_fingerprint", "");
    assert_eq!(fingerprint(&one), fingerprint(&two));
}

#[test]
fn verification_distinguishes_genuine_forged_truncated_and_foreign_tokens() {
    let site = Site::with_codes(&["live"]);
    let token = site.get("/live", &[]).token().unwrap();
    let genuine = verify_token(&site, &token);
    assert_eq!((genuine["verdict"].as_str(), genuine["kind"].as_str()), (Some("valid"), Some("url")));
    let event = &site.wait_for_events("clicks", 1)[0];
    assert_eq!(genuine["click_id"], event["click_id"]);
    assert_eq!(genuine["audience"], "s_1");

    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let payload = parts[2].clone();
    parts[2] = format!("{}{}", if payload.starts_with('A') { 'B' } else { 'A' }, &payload[1..]);
    assert_eq!(verify_token(&site, &parts.join("."))["verdict"], "bad_mac");
    assert_eq!(verify_token(&site, &token[..token.len() - 3])["verdict"], "malformed");
    let other = Site::with_codes(&["live"]);
    assert_eq!(verify_token(&other, &token)["verdict"], "unknown_key");
}

/// The tokens are signed with the site's own keys, dated 13 and 15 days ago.
#[test]
fn a_token_older_than_14_days_is_expired_and_treated_as_absent() {
    const DAY: u64 = 86_400_000;
    let site = Site::with_codes(&["live"]);
    let ring = Keyring::load(&site.data().join("keys.json")).unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    for (days, state) in [(13, "valid"), (15, "expired")] {
        let click_id = ClickId::mint(now - days * DAY, &[7; 10]).0;
        let (mut cookie, mut url) = (Vec::new(), Vec::new());
        ring.sign_and_append_cookie_token(
            now,
            &CookieClaims { visitor: [9; 16], click_id, domain: b"*", code: b"live" },
            &mut cookie,
        );
        let claims = UrlClaims { click_id, domain: b"*", code: b"live", flags: UrlFlags::default() };
        ring.sign_and_append_url_token_and_return_key_id(
            &mut UrlKeyCache::default(),
            now,
            KeyScope::Seller("s_1"),
            &claims,
            &mut url,
        );
        let [cookie, url] = [cookie, url].map(|token| String::from_utf8(token).unwrap());
        assert_eq!(verify_token(&site, &url)["verdict"], state);
        let answer = site.get("/live", &[&format!("Cookie: __Host-wp={cookie}")]);
        assert!(answer.header("set-cookie").is_some_and(|fresh| !fresh.contains(&cookie)), "{state}: {answer:?}");
        let event = until(state, || site.events("clicks").into_iter().find(|event| event["cookie_state"] == state));
        let kept = event["visitor_id"] == "09".repeat(16);
        assert_eq!((kept, event.get("previous_click_id").is_some()), (state == "valid", state == "valid"), "{event}");
    }
}

#[test]
fn a_shop_verifies_its_own_tokens_with_its_own_key_and_no_others() {
    let other_seller = link("other").replace("s_1", "s_2");
    let site = Site::new(&[link("live"), other_seller]).start();
    let shop = site.path("shop.json").display().to_string();
    keys(&site, &["export", "--seller", "s_1", "--out", &shop]);
    let verify = |token: String| {
        let output = site.command(&["token", "verify", "--json", "--url-keys", &shop, &token]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verify(site.get("/live", &[]).token().unwrap()), "valid");
    assert_eq!(verify(site.get("/other", &[]).token().unwrap()), "bad_mac");
    let cookie = site.get("/live", &[]).cookie();
    assert_ne!(verify(cookie.trim_start_matches("__Host-wp=").to_owned()), "valid");
}

#[test]
fn rotated_keys_are_loaded_without_restart_and_without_a_failed_click() {
    let site = Arc::new(Site::with_codes(&["live"]));
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (site, stop) = (site.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut wire = site.connect();
            let mut clicks = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
                clicks += 1;
            }
            clicks
        })
    };
    let (first, old_cookie) = (signing_key(&site), site.get("/live", &[]).cookie());
    keys(&site, &["rotate", "--sign-in", "0s"]);
    site.signal("-HUP");
    until("the new key to sign", || (signing_key(&site) != first).then_some(()));
    let before = site.metric("waypost_cookies_total", "state=\"valid\"");
    site.get("/live", &[&format!("Cookie: {old_cookie}")]);
    until("the retired key still verifies", || {
        (site.metric("waypost_cookies_total", "state=\"valid\"") > before).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    assert!(load.join().unwrap() > 0);
}

#[test]
fn an_invalid_ring_is_refused_and_the_old_one_stays() {
    let site = Site::with_codes(&["live"]);
    let first = signing_key(&site);
    std::fs::write(site.data().join("keys.json"), "{").unwrap();
    site.signal("-HUP");
    site.wait_for_log("keys.json");
    site.wait_for_fault("keyring_refused", "bounded", "key-ring-stale");
    until("the refusal is counted", || {
        (site.metric("waypost_keyring_reloads_total", "result=\"refused\"") >= 1.0).then_some(())
    });
    assert_eq!(signing_key(&site), first);
}
