use std::{path::Path, time::Duration};

use super::{
    errors::ConfigError,
    load::{SECTIONS, into_result, parse_and_validate_sections},
    values::ConfigValues,
    *,
};

fn read(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static [&'static str], &str)],
) -> Result<Config, Vec<String>> {
    let mut values = ConfigValues::default();
    values.parse_toml_and_add_values_and_errors(&Path::new("waypost.toml").into(), file);
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    values.add_values_of_environment(environment, SECTIONS);
    for (flag, key, value) in flags {
        values.set_value_from_flag(flag, key, (*value).to_owned());
    }
    into_result(parse_and_validate_sections(&mut values))
        .map_err(|errors| errors.0.iter().map(ConfigError::to_string).collect())
}

fn listen(address: &str) -> net::listen::ListenConfig {
    address.parse::<net::listen::ListenAddress>().unwrap().into()
}

#[test]
fn nothing_written_is_the_defaults() {
    let config = read("", &[], &[]).unwrap();
    assert_eq!(config.edge.listen, [listen("127.0.0.1:8080")]);
    assert_eq!(config.admin.listen.port(), 9100);
    assert!(config.edge.workers() >= 1);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "[edge]\nlisten = \"127.0.0.1:1\"\nworkers = 1\nid = \"a\"\n";
    let environment = [("WAYPOST__EDGE__LISTEN", "127.0.0.1:2"), ("WAYPOST__EDGE__WORKERS", "2"), ("HOME", "/")];
    let config = read(file, &environment, &[("--listen", &["edge", "listen"], "127.0.0.1:3,[::1]:4")]).unwrap();
    assert_eq!(config.edge.listen, [listen("127.0.0.1:3"), listen("[::1]:4")]);
    assert_eq!(config.edge.workers, Some(2));
    assert_eq!(config.edge.id.as_deref(), Some("a"));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_key_and_where_it_is() {
    let file = "[edge]\nlisten = \"nowhere\"\nworkers = \"many\"\nlissen = 1\n\n\
                [edge.limits]\nmax_header_bytes = \"4 MB\"\n\
                header_timeout = \"1ms\"\n\n[server]\nlog = \"loud\"\ndrain_deadline = 5\n\n[egde]\na = 1\nb = 2\n";
    let environment = [("WAYPOST__ADMIN__LISTEN", "9100"), ("WAYPOST__EDGE__LIMITS__COLOUR", "red")];
    let found = read(file, &environment, &[("--data-dir", &["server", "datadir"], "x")]).unwrap_err();
    let expected = [
        ("waypost.toml:2: edge.listen: ", "127.0.0.1:8080"),
        ("waypost.toml:3: edge.workers: found the text \"many\"", "a whole number from 0"),
        ("waypost.toml:4: edge.lissen: unknown key `lissen`", "`listen`"),
        ("waypost.toml:7: edge.limits.max_header_bytes: ", "64 MiB"),
        ("waypost.toml:8: edge.limits.header_timeout: 1ms", "100ms to 1h"),
        ("waypost.toml:11: server.log: ", "`json`"),
        ("waypost.toml:12: server.drain_deadline: ", ""),
        ("waypost.toml:14: egde: unknown section", "edge"),
        ("WAYPOST__EDGE__LIMITS__COLOUR: edge.limits.colour: unknown key", "`max_header_bytes`"),
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
        ("WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS", "7"),
        ("WAYPOST__EDGE__LIMITS__MAX_HEADER_BYTES", "32 KiB"),
        ("WAYPOST__EDGE__ID", "7"),
        ("WAYPOST__SERVER__PRE_STOP_DELAY", "5s"),
    ];
    let config = read("", &environment, &[]).unwrap();
    assert_eq!(config.edge.trusted_proxies.to_string(), r#"["10.0.0.0/8", "fd00::/8"]"#);
    assert_eq!(config.edge.limits.max_connections, 7);
    assert_eq!(config.edge.limits.max_header_bytes.0, 32 << 10);
    assert_eq!(config.edge.id.as_deref(), Some("7"));
    assert_eq!(config.server.pre_stop_delay, Duration::from_secs(5));
    let array = read("", &[("WAYPOST__EDGE__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")], &[]).unwrap();
    assert_eq!(array.edge.trusted_proxies.to_string(), r#"["10.0.0.0/8"]"#);
}

#[test]
fn a_value_in_place_of_a_section_is_refused() {
    let found = read("edge = 3\n", &[], &[]).unwrap_err();
    assert!(found[0].starts_with("waypost.toml:1: edge: "), "{found:#?}");
}

#[test]
fn a_rule_of_a_section_names_the_line_of_its_key() {
    let found = read("[kafka.topics]\nclicks = \"one\"\n\norphan = \"one\"\n", &[], &[]).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("waypost.toml:4: kafka.topics.orphan: "), "{found:#?}");
}

#[test]
fn a_key_of_librdkafka_is_one_key_however_it_is_written() {
    let file =
        "[kafka.properties]\nsasl.username = \"file\"\n\"client.rack\" = \"a\"\nacks = 1\nlinger_ms = \"soon\"\n";
    let environment = [("WAYPOST__KAFKA__PROPERTIES__SASL_USERNAME", "environment")];
    let found = read(file, &environment, &[]).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("waypost.toml:4: kafka.properties.acks: "), "{found:#?}");
    assert!(
        found[1].starts_with("waypost.toml:5: kafka.properties.\"linger.ms\": ")
            || found[1].starts_with("waypost.toml:5: kafka.properties.linger.ms: "),
        "{found:#?}"
    );
    let config = read(&file[..file.find("acks").unwrap()], &environment, &[]).unwrap();
    let producer = config.kafka.build_producer_settings("e").unwrap();
    assert_eq!((producer.get("sasl.username"), producer.get("client.rack")), (Some("environment"), Some("a")));
}

#[test]
fn a_secret_may_lie_in_a_file_that_a_variable_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "hunter2\n").unwrap();
    let variable = "WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE";
    let config = read("", &[(variable, path.to_str().unwrap())], &[]).unwrap();
    assert_eq!(config.kafka.build_producer_settings("e").unwrap().get("sasl.password"), Some("hunter2"));
    let found = read("", &[(variable, "/nowhere/secret")], &[]).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(variable) && found[0].contains("/nowhere/secret"), "{found:#?}");
}

#[test]
fn a_host_is_named_by_a_variable_with_underscores_for_dots_and_hyphens() {
    let file = "[domains.\"go.my-shop.example\"]\n";
    let environment = [
        ("WAYPOST__DOMAINS__GO_MY_SHOP_EXAMPLE__TOKEN_PARAM", "t"),
        ("WAYPOST__DOMAINS__L_EXAMPLE__TOKEN_PARAM", "u"),
        ("WAYPOST__DOMAINS__DEFAULT__TOKEN_PARAM", "v"),
    ];
    let domains = read(file, &environment, &[]).unwrap().domains.0;
    let params: Vec<_> =
        domains.iter().map(|(host, settings)| (host.as_str(), settings.token_param.as_str())).collect();
    assert_eq!(params, [("*", "v"), ("go.my-shop.example", "t"), ("l.example", "u")]);
}

#[test]
fn a_mistake_in_a_host_names_the_host_and_its_line() {
    let file = "[domains.\"go.example.com\"]\nprefetch = \"maybe\"\nreferrer_policy = \"none\"\n[domains.\"a b\"]\n";
    let found = read(file, &[], &[]).unwrap_err();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("waypost.toml:2: domains.\"go.example.com\".prefetch: "), "{found:#?}");
    assert!(found[1].starts_with("waypost.toml:3: domains.\"go.example.com\".referrer_policy: "), "{found:#?}");
    assert!(found[2].starts_with("waypost.toml:4: domains.\"a b\": "), "{found:#?}");
}

/// The example with every `# key = value` taken out of its comment.
fn example_in_force() -> String {
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.split(" = ").next().is_some_and(|key| !key.contains(' ')) => rest.to_owned(),
        _ => line.to_owned(),
    };
    include_str!("../../deploy/waypost.example.toml").lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_good_as_it_is_and_its_keys_are_all_known() {
    let config = read(include_str!("../../deploy/waypost.example.toml"), &[], &[]).unwrap();
    assert_eq!(config.edge.listen, EdgeConfig::default().listen);
    // Files that it names are not on this machine, links come from a file or a topic, and the id of a schema is for
    // one of the encodings; nothing else may be wrong.
    let found = read(&example_in_force(), &[], &[]).err().unwrap_or_default();
    let is_expected = |mistake: &String| {
        let expected = ["/run/secrets/kafka", "links.topic: is set beside links.file", "kafka.schema_id: `7`"];
        expected.iter().any(|text| mistake.contains(text))
    };
    assert!(found.iter().all(is_expected), "{found:#?}");
}
