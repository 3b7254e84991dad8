//! The file of a key ring: made, read, rotated, imported and refused.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::attribution::{
    file::{KeyringError, OwnKeys, RotatedKeyring},
    keyring::KeyRole,
};

#[test]
fn the_key_that_signs_changes_at_its_time_and_the_old_one_verifies_14_days_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file::FILE_NAME);
    let before = Keyring::load_or_create_file_with_new_key(&path, NOW).unwrap();
    let RotatedKeyring { new_key: id, ring } =
        file::add_signing_key_retire_others_and_write_file(&path, NOW, NOW + HOUR).unwrap();
    assert_ne!(before.fingerprint(), ring.fingerprint());
    let key_at = |now| {
        let mut token = Vec::new();
        ring.sign_and_append_cookie_token(now, &cookie_at(now), &mut token);
        (token[3..11].to_vec(), token)
    };
    let (old_id, old_token) = key_at(NOW + HOUR - 1);
    assert_ne!(old_id, id);
    assert_eq!(key_at(NOW + HOUR).0, id);
    assert_eq!(cookie_error(&ring, NOW + HOUR + ATTRIBUTION_WINDOW_MS - 2, &old_token), None);
    assert_eq!(cookie_error(&ring, NOW + HOUR + ATTRIBUTION_WINDOW_MS, &old_token), Some(TokenError::UnknownKey));
    let roles = |now| ring.key_statuses_newest_first(now).map(|status| status.role).collect::<Vec<_>>();
    assert_eq!(roles(NOW), [KeyRole::Waiting, KeyRole::Signing]);
    assert_eq!(roles(NOW + HOUR), [KeyRole::Signing, KeyRole::Verifying]);
    assert_eq!(roles(NOW + HOUR + ATTRIBUTION_WINDOW_MS), [KeyRole::Signing, KeyRole::Expired]);
    // A clock before every key still has one to sign with.
    assert_eq!(roles(1), [KeyRole::Signing, KeyRole::Verifying]);
    assert!(matches!(
        file::add_signing_key_retire_others_and_write_file(&path, NOW, NOW + HOUR),
        Err(KeyringError::RotationPending { .. })
    ));
    let at = NOW + 2 * ATTRIBUTION_WINDOW_MS;
    let third = file::add_signing_key_retire_others_and_write_file(&path, at, at).unwrap().ring;
    assert_eq!(third.key_statuses_newest_first(NOW).count(), 2, "the first key is past use and removed");
}

#[test]
fn two_edges_with_one_imported_ring_accept_each_others_tokens() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (here.path().join(file::FILE_NAME), there.path().join(file::FILE_NAME));
    let first = Keyring::load_or_create_file_with_new_key(&here, NOW).unwrap();
    // The other's own key is newer: the imported ring must win all the same.
    let before = Keyring::load_or_create_file_with_new_key(&there, NOW + HOUR).unwrap();
    let own = cookie_token(&before, &cookie_at(NOW));
    let second = file::replace_keyring_file_and_retire_or_drop_own_keys(
        &there,
        &first.export_with_secrets().unwrap(),
        NOW + 2 * HOUR,
        OwnKeys::Retire,
    )
    .unwrap();
    assert_eq!(cookie_error(&first, NOW, &cookie_token(&second, &cookie_at(NOW))), None);
    assert_eq!(cookie_error(&second, NOW, &cookie_token(&first, &cookie_at(NOW))), None);
    let url = url_token(&second, SELLER, &url_at(NOW));
    assert_eq!(url_error(&first, SELLER, &url), None);
    assert_eq!(cookie_error(&second, NOW, &own), None, "what it signed before stays good");
    let third = file::replace_keyring_file_and_retire_or_drop_own_keys(
        &there,
        &first.export_with_secrets().unwrap(),
        NOW,
        OwnKeys::Remove,
    )
    .unwrap();
    assert_eq!(third.fingerprint(), first.fingerprint());
    assert_eq!(cookie_error(&third, NOW, &own), Some(TokenError::UnknownKey));
}

#[test]
fn a_ring_is_made_once_private_and_refused_when_others_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file::FILE_NAME);
    let made = fresh_ring(dir.path());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fresh_ring(dir.path()).fingerprint(), made.fingerprint());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Keyring::load(&path).unwrap_err().to_string();
    assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn edges_that_start_at_once_make_one_ring() {
    let dir = tempfile::tempdir().unwrap();
    let rings: Vec<u64> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| fresh_ring(dir.path()).fingerprint())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(rings.iter().all(|ring| *ring == rings[0]), "{rings:?}");
}

#[test]
fn a_bad_ring_says_what_is_wrong_and_shows_no_secret() {
    let good = String::from_utf8(include_bytes!("../../../tests/fixtures/token_ring.json").to_vec()).unwrap();
    let secret = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5v";
    assert!(good.contains(secret));
    for (bad, why) in [
        (String::new(), "line 1"),
        (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
        (good.replace("FiHrAYZq", "AAAAAAAA"), "FiHrAYZq"),
        (good.replace(secret, &secret[..40]), "at least 32"),
        (good.replace(secret, &secret.replace('Q', "!")), "base64url"),
        (good.replace("null", "\"2026-11-12T00:00:00Z\""), "left to sign"),
        (good.replace("\"retired_at\"", "\"retired\""), "retired"),
        ("{\"version\":1,\"keys\":[]}".to_owned(), "left to sign"),
    ] {
        let error = Keyring::parse(Path::new("some/keys.json"), bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("some/keys.json"), "{error}");
        assert!(!error.contains(&secret[..8]), "{error}");
    }
    let shown = format!("{:?} {:?}", golden_ring(), golden_ring().derive_and_export_url_keys(SELLER));
    assert!(!shown.contains(secret) && shown.contains("Secret(…)"), "{shown}");
}
