//! A version of the file beside the links that are served: what may change, what may be gone.

use super::*;

#[test]
fn fields_that_never_change_are_compared_with_the_served_links() {
    let fixture = LoadFixture::new();
    let own = r#","creator":"c_1","partner":"p_1""#;
    let old = fixture.load(&line("a", own), None).unwrap().table;
    let later = line("a", own).replace("2026-11-01", "2026-11-02");
    let errors = fixture.errors_of(&later, Some(&old));
    assert!(errors.listed[0].message.starts_with("created_at: never changes and was 2026-11-01T00:00:00Z"));
    assert_eq!(errors.listed[0].column, later.find("\"created_at\"").unwrap() as u64 + 1);
    let other = r#","creator":"c_2","seller":"s_1","product":"1","plan":"open","rate_bp":900"#;
    let errors = fixture.errors_of(&line("a", other).replace("plain", "product"), Some(&old));
    let fields: Vec<&str> = errors.listed.iter().map(|error| error.message.split(':').next().unwrap()).collect();
    assert_eq!(fields, ["partner", "kind", "creator"]);
    let moved = line("a", &format!(r#"{own},"domain":"go.example.com""#));
    let errors = fixture.errors_of(&moved, Some(&old));
    assert!(errors.listed[0].message.starts_with("domain: never changes and was \"*\""), "{errors}");
    assert!(fixture.load(&format!("{}\n{moved}", line("a", own)), Some(&old)).is_ok());
    assert!(fixture.load(&line("a", &format!(r#"{own},"enabled":false"#)), Some(&old)).is_ok());
}

#[test]
fn a_removed_link_comes_back_as_it_was_or_not_for_114_days() {
    let mut fixture = LoadFixture::new();
    let lines: Vec<String> = (0..20).map(|n| line(&format!("a{n}"), "")).collect();
    let renewed = line("a0", "").replace("2026-11-01", "2026-11-02");
    let with = |first: &str| format!("{first}\n{}", lines[1..].join("\n"));
    let whole = fixture.load(&lines.join("\n"), None).unwrap().table;
    let without = fixture.load(&lines[1..].join("\n"), Some(&whole)).unwrap().table;
    let again = fixture.load(&lines[1..].join("\n"), Some(&without)).unwrap().table;
    for old in [&without, &again] {
        let errors = fixture.errors_of(&with(&renewed), Some(old));
        assert_eq!(errors.listed[0].line, 1);
        let says = "created_at: never changes and was 2026-11-01T00:00:00Z when it was removed";
        assert!(errors.listed[0].message.starts_with(says), "{errors}");
    }
    let back = fixture.load(&lines.join("\n"), Some(&again)).unwrap().table;
    assert!(back.removed_len() == 0);
    fixture.now_ms += CODE_RESERVATION_MS - 1;
    assert_eq!(fixture.errors_of(&with(&renewed), Some(&again)).total, 1);
    fixture.now_ms += 1;
    assert!(fixture.load(&with(&renewed), Some(&again)).is_ok());
    assert!(fixture.load(&lines[1..].join("\n"), Some(&again)).unwrap().table.removed_len() == 0);
}

#[test]
fn a_test_link_without_a_date_is_as_old_as_its_load() {
    let fixture = LoadFixture::new();
    let undated = r#"{"code":"a","url":"https://shop.example.com/","kind":"plain","test":true}"#;
    let old = fixture.load(undated, None).unwrap().table;
    assert!(fixture.load(undated, Some(&old)).is_ok());
    assert!(fixture.load(&line("a", ""), Some(&old)).is_ok());
    let dated = fixture.load(&line("a", ""), None).unwrap().table;
    assert_eq!(fixture.errors_of(undated, Some(&dated)).total, 1);
}

#[test]
fn a_version_that_is_empty_or_lost_more_than_a_tenth_is_refused_unless_allowed() {
    let mut fixture = LoadFixture::new();
    let lines: Vec<String> = (0..20).map(|n| line(&format!("a{n}"), "")).collect();
    let expired = line("gone", r#","expires_at":"2026-11-01T00:00:01Z""#);
    let old = fixture.load(&format!("{}\n{expired}", lines.join("\n")), None).unwrap().table;
    assert!(fixture.load(&lines[..18].join("\n"), Some(&old)).is_ok());
    let refused = fixture.load(&lines[..17].join("\n"), Some(&old));
    assert!(matches!(
        refused,
        Err(LoadError::Shrinks { violation: ShrinkViolation::LostLinks { lost: 3, live: 20 }, .. })
    ));
    assert!(matches!(
        fixture.load("\n", Some(&old)),
        Err(LoadError::Shrinks { violation: ShrinkViolation::Empty { served: 21 }, .. })
    ));
    fixture.allow_shrink = true;
    assert_eq!(fixture.load("", Some(&old)).unwrap().links, 0);
}

#[test]
fn a_first_version_without_a_link_is_refused_unless_allowed() {
    let mut fixture = LoadFixture::new();
    for empty in ["", "\n\n", "\u{feff}"] {
        let Err(error) = fixture.load(empty, None) else { panic!("{empty:?} was loaded") };
        let text = error.to_string();
        assert!(
            text.ends_with(
                "holds no link: every buyer would be answered 404; if that is meant, start with --allow-shrink"
            ),
            "{text}"
        );
    }
    fixture.allow_shrink = true;
    let empty = fixture.load("", None).unwrap();
    fixture.allow_shrink = false;
    assert_eq!(fixture.load("", Some(&empty.table)).unwrap().links, 0, "empty as before");
}

#[test]
fn links_that_are_gone_are_counted() {
    let fixture = LoadFixture::new();
    let lines = |codes: std::ops::Range<u32>| codes.map(|n| line(&format!("c{n}"), "")).collect::<Vec<_>>().join("\n");
    let served = fixture.load(&lines(0..20), None).unwrap();
    assert_eq!(served.removed, 0);
    let next = fixture.load(&lines(2..30), Some(&served.table)).unwrap();
    assert_eq!((next.links, next.removed), (28, 2));
}
