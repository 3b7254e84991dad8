//! `waypost config`

use std::io::Write;

use clap::Subcommand;

use crate::{cli::config_args::ConfigArgs, config::EffectiveValue};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every key with its effective value and where the value comes from; secrets are left out
    Show {
        #[command(flatten)]
        config: ConfigArgs,
    },
}

impl ConfigCommand {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let ConfigCommand::Show { config } = self;
        Ok(out.write_all(format_as_toml_with_sources(&config.load_effective_values()?).as_bytes())?)
    }
}

/// One TOML document: a line for each key, with the value's source as its comment. A key without a value is a comment.
fn format_as_toml_with_sources(values: &[EffectiveValue]) -> String {
    let mut text = String::new();
    let mut table = "";
    for value in values {
        if value.table != table {
            let gap = if table.is_empty() { "" } else { "\n" };
            table = &value.table;
            text += &format!("{gap}[{table}]\n");
        }
        let line = match &value.toml {
            Some(toml) => format!("{} = {toml}", value.key),
            None => format!("# {} is not set", value.key),
        };
        text += &format!("{line:<48}  # {}\n", value.source);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigInputs, FlagValues};

    fn show(text: &str, environment: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("waypost.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let inputs = ConfigInputs { file: Some(&file), environment, flags: FlagValues::default() };
        format_as_toml_with_sources(&inputs.load_and_list_effective_values().unwrap())
            .replace(&file.display().to_string(), "waypost.toml")
    }

    fn line_of<'a>(shown: &'a str, start: &str) -> &'a str {
        shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{shown}"))
    }

    #[test]
    fn every_key_shows_its_value_and_its_source() {
        let shown = show("[edge]\nlisten = [\"127.0.0.1:1\"]\n", &[("WAYPOST__EDGE__WORKERS", "3")]);
        assert!(line_of(&shown, "listen = ").ends_with("# waypost.toml:2"), "{shown}");
        assert!(line_of(&shown, "workers = 3").ends_with("# WAYPOST__EDGE__WORKERS"), "{shown}");
        assert!(line_of(&shown, "data_dir = \"waypost-data\"").ends_with("# default"), "{shown}");
        assert!(line_of(&shown, "# id is not set").ends_with("# default"), "{shown}");
    }

    #[test]
    fn what_is_shown_is_a_configuration_with_the_same_values() {
        let text = "[edge]\nlisten = [{ address = \"127.0.0.1:1\", http2 = true }]\n[domains.\"a.example\"]\n\
                    [kafka]\nbrokers = \"k:1\"\n[kafka.properties]\n\"client.rack\" = \"a\"\n";
        let without_sources = |shown: &str| -> Vec<String> {
            shown
                .lines()
                .map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value).trim().to_owned())
                .collect()
        };
        let shown = show(text, &[]);
        assert_eq!(without_sources(&show(&shown, &[])), without_sources(&shown));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = show("[kafka.properties]\n\"sasl.password\" = \"hunter2\"\n", &[]);
        assert!(line_of(&shown, "\"sasl.password\" = ").contains("(secret)"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
