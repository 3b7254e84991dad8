use super::*;

fn read(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static [&'static str], &str)],
) -> Result<Config, Vec<String>> {
    let mut leaves = leaves::Leaves::default();
    leaves.read_text(&Path::new("waypost.toml").into(), file);
    leaves.read_environment(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for (flag, key, value) in flags {
        leaves.flag(flag, key, toml::Value::String((*value).to_owned()));
    }
    sections(leaves).map_err(|mistakes| mistakes.0.iter().map(Mistake::to_string).collect())
}

#[test]
fn nothing_written_is_the_defaults() {
    let config = read("", &[], &[]).unwrap();
    assert_eq!(config.edge.listen, [SocketAddr::from(([127, 0, 0, 1], 8080))]);
    assert_eq!(config.admin.listen.port(), 9100);
    assert!(config.edge.workers() >= 1);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "[edge]\nlisten = \"127.0.0.1:1\"\nworkers = 1\nid = \"a\"\n";
    let environment = [("WAYPOST__EDGE__LISTEN", "127.0.0.1:2"), ("WAYPOST__EDGE__WORKERS", "2"), ("HOME", "/")];
    let config = read(file, &environment, &[("--listen", &["edge", "listen"], "127.0.0.1:3,[::1]:4")]).unwrap();
    assert_eq!(config.edge.listen.iter().map(SocketAddr::port).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(config.edge.workers, Some(2));
    assert_eq!(config.edge.id.as_deref(), Some("a"));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_key_and_where_it_is() {
    let file = "[edge]\nlisten = \"nowhere\"\nworkers = \"many\"\nlissen = 1\n\n[edge.limits]\nuri = \"4 MB\"\n\
                header_timeout = \"1ms\"\n\n[server]\nlog = \"loud\"\ndrain_deadline = 5\n\n[egde]\na = 1\nb = 2\n";
    let environment = [("WAYPOST__ADMIN__LISTEN", "9100"), ("WAYPOST__EDGE__LIMITS__COLOUR", "red")];
    let found = read(file, &environment, &[("--data-dir", &["server", "datadir"], "x")]).unwrap_err();
    let expected = [
        ("waypost.toml:2: edge.listen: ", "127.0.0.1:8080"),
        ("waypost.toml:3: edge.workers: ", "expected usize"),
        ("waypost.toml:4: edge.lissen: unknown key `lissen`", "`listen`"),
        ("waypost.toml:7: edge.limits.uri: ", "64 MiB"),
        ("waypost.toml:8: edge.limits.header_timeout: 1ms", "100ms to 1h"),
        ("waypost.toml:11: server.log: ", "`json`"),
        ("waypost.toml:12: server.drain_deadline: ", ""),
        ("waypost.toml:14: egde: unknown section", "edge"),
        ("WAYPOST__EDGE__LIMITS__COLOUR: edge.limits.colour: unknown key", "`uri`"),
        ("WAYPOST__ADMIN__LISTEN: admin.listen: ", ""),
        ("--data-dir: server.datadir: unknown key", "`data_dir`"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (start, holds)) in found.iter().zip(expected) {
        assert!(found.starts_with(start) && found.contains(holds), "{found}\n{start} … {holds}");
    }
}

#[test]
fn every_syntax_error_is_reported_with_its_line_and_the_rest_is_still_checked() {
    let found = read("[edge]\nworkers = \nid = \"Ä\"\n[admin\nlisten = 3\n", &[], &[]).unwrap_err();
    assert!(found.iter().any(|mistake| mistake.starts_with("waypost.toml:2: ")), "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.starts_with("waypost.toml:3: edge.id: ")), "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.starts_with("waypost.toml:4: ")), "{found:#?}");
}

#[test]
fn the_environment_says_numbers_lists_and_texts() {
    let environment = [
        ("WAYPOST__EDGE__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
        ("WAYPOST__EDGE__LIMITS__CONNECTIONS", "7"),
        ("WAYPOST__EDGE__LIMITS__HEADERS", "32 KiB"),
        ("WAYPOST__EDGE__ID", "7"),
        ("WAYPOST__SERVER__PRE_STOP_DELAY", "5s"),
    ];
    let config = read("", &environment, &[]).unwrap();
    assert_eq!(config.edge.trusted_proxies, ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(config.edge.limits.connections, 7);
    assert_eq!(config.edge.limits.headers.0, 32 << 10);
    assert_eq!(config.edge.id.as_deref(), Some("7"));
    assert_eq!(config.server.pre_stop_delay, Duration::from_secs(5));
    let array = read("", &[("WAYPOST__EDGE__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")], &[]).unwrap();
    assert_eq!(array.edge.trusted_proxies, ["10.0.0.0/8"]);
}

#[test]
fn a_value_in_place_of_a_section_is_refused() {
    let found = read("edge = 3\n", &[], &[]).unwrap_err();
    assert!(found[0].starts_with("waypost.toml:1: edge: "), "{found:#?}");
}

#[test]
fn a_rule_of_a_section_names_the_line_of_its_key() {
    let found = read("[edge]\n\ntrusted_proxies = [\"ten\", \"10.0.0.1\", \"10.0.0.0/33\"]\n", &[], &[]).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("waypost.toml:3: edge.trusted_proxies: `ten` is not a network"), "{found:#?}");
}
