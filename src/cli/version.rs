//! `waypost version`

use std::io::Write;

use clap::Args;

/// The commit the binary was built from, 12 hexadecimal digits, if it was known at build time.
const COMMIT: Option<&str> = option_env!("WAYPOST_COMMIT");

/// The version with the commit, such as `0.1.0 (a1b2c3d4e5f6)`.
pub(super) const VERSION_WITH_COMMIT: &str = env!("WAYPOST_VERSION_WITH_COMMIT");

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Print one JSON object: version and commit
    #[arg(long)]
    json: bool,
}

impl VersionArgs {
    /// Prints version and commit.
    pub(super) fn print_version_and_commit(&self, out: &mut impl Write) -> anyhow::Result<()> {
        if self.json {
            let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT });
            writeln!(out, "{version}")?;
        } else {
            writeln!(out, "waypost {VERSION_WITH_COMMIT}")?;
        }
        Ok(())
    }
}
