//! `waypost api-keys`: makes, lists and revokes the keys of the API.

use std::io::Write;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, ApiPath, ServerArgs},
    config_args::ConfigArgs,
};
use crate::{
    api::key_to_json,
    catalog::api_keys::{ApiKeyRequest, ApiKeyStore, KeyBounds, Revocation, Scope},
    config::FlagValues,
    journal::DirectoryLocks,
};

/// Who made a key by a command that opens the data directory.
const ACTOR: &str = "waypost api-keys";

/// `waypost api-keys …`
#[derive(Clone, Debug, Args)]
pub(super) struct ApiKeysArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Make a key and print it; nothing prints it again
    New(NewKeyArgs),
    /// Show every key: its id, name, scopes and bounds
    List {
        /// Print one JSON object a key
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key from now on
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
    },
}

#[derive(Clone, Debug, Args)]
struct NewKeyArgs {
    /// What people will call the key
    #[arg(long)]
    name: String,
    /// What the key permits
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_enum)]
    scopes: Vec<ScopeArg>,
    /// Only links of this domain; may be given more than once
    #[arg(long = "domain", value_name = "HOST")]
    domains: Vec<String>,
    /// Only links of this partner; may be given more than once
    #[arg(long = "partner", value_name = "ID")]
    partners: Vec<String>,
    /// Only links of this creator; may be given more than once
    #[arg(long = "creator", value_name = "ID")]
    creators: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScopeArg {
    /// Read links, their history and the status
    Read,
    /// Create, change and remove links
    Write,
    /// Suspend links and end a suspension
    Suspend,
    /// Freeze, roll back, change domains, and make API keys
    Admin,
}

impl ScopeArg {
    const fn scope(self) -> Scope {
        match self {
            ScopeArg::Read => Scope::Read,
            ScopeArg::Write => Scope::Write,
            ScopeArg::Suspend => Scope::Suspend,
            ScopeArg::Admin => Scope::Admin,
        }
    }
}

/// Where the keys are.
enum KeyPlace {
    Server(ApiClient),
    /// With the locks of the data directory.
    Directory(ApiKeyStore, #[allow(dead_code, reason = "held for its drop alone")] DirectoryLocks),
}

impl ApiKeysArgs {
    /// Runs the command and prints its result to `out`.
    ///
    /// # Errors
    /// A server holds the data directory, does not answer or refuses; the catalog cannot be used; there is no such key.
    pub(super) fn run_api_keys_command(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let place = self.open_key_place()?;
        match &self.command {
            Command::New(new) => writeln!(out, "{}", place.create_key(new)?)?,
            Command::List { json } => {
                for key in place.list_keys()? {
                    writeln!(out, "{}", if *json { key.to_string() } else { text_of_key(&key) })?;
                }
            }
            Command::Revoke { id } => {
                place.revoke_key(id)?;
                writeln!(out, "the key {id} is refused from now on")?;
            }
        }
        Ok(())
    }

    fn open_key_place(&self) -> anyhow::Result<KeyPlace> {
        if let Some(client) = self.server.client()? {
            return Ok(KeyPlace::Server(client));
        }
        let config = self.config.load(FlagValues::default())?;
        let data_dir = &config.server.data_dir;
        let locks = DirectoryLocks::lock(data_dir, config.journal.ring_dir.as_deref())
            .context("a running server is asked with --server URL")?;
        Ok(KeyPlace::Directory(ApiKeyStore::open_or_create(data_dir)?, locks))
    }
}

impl KeyPlace {
    /// Makes a key and returns its text.
    fn create_key(&self, new: &NewKeyArgs) -> anyhow::Result<String> {
        let bound = |values: &Vec<String>| (!values.is_empty()).then(|| values.clone());
        let mut scopes: Vec<Scope> = Vec::new();
        for scope in new.scopes.iter().map(|scope| scope.scope()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let domains = bound(&new.domains).map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect());
        let (partners, creators) = (bound(&new.partners), bound(&new.creators));
        match self {
            KeyPlace::Directory(keys, _) => {
                let bounds = KeyBounds { domains, partners, creators };
                let request = ApiKeyRequest { name: new.name.clone(), scopes, bounds };
                Ok(keys.create(request, ACTOR)?.text)
            }
            KeyPlace::Server(client) => {
                let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                let body = json!({
                    "name": new.name, "scopes": scopes, "domains": domains, "partners": partners, "creators": creators,
                });
                let answer = client.send_json("POST", &ApiPath::new("/v1/api-keys"), Some(&body))?;
                Ok(answer["key"].as_str().context("the answer has no key")?.to_owned())
            }
        }
    }

    fn list_keys(&self) -> anyhow::Result<Vec<Value>> {
        match self {
            KeyPlace::Directory(keys, _) => Ok(keys.list()?.iter().map(key_to_json).collect()),
            KeyPlace::Server(client) => {
                let answer = client.send_json("GET", &ApiPath::new("/v1/api-keys"), None)?;
                Ok(answer["items"].as_array().cloned().unwrap_or_default())
            }
        }
    }

    fn revoke_key(&self, id: &str) -> anyhow::Result<()> {
        match self {
            KeyPlace::Directory(keys, _) => {
                if keys.revoke(id, ACTOR)? == Revocation::UnknownId {
                    bail!("there is no key {id}; `waypost api-keys list` shows all");
                }
                Ok(())
            }
            KeyPlace::Server(client) => {
                client.send_json("DELETE", &ApiPath::new("/v1/api-keys").segment(id), None).map(drop)
            }
        }
    }
}

fn text_of_key(key: &Value) -> String {
    let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
    let list = |field: &str| {
        let values = key[field].as_array()?.iter().filter_map(Value::as_str);
        Some(values.collect::<Vec<_>>().join(","))
    };
    let mut line = format!("{}  {}  {}", text("id"), list("scopes").unwrap_or_default(), text("name"));
    for bound in ["domains", "partners", "creators"] {
        if let Some(values) = list(bound) {
            line += &format!("  {bound}={values}");
        }
    }
    if key["revoked_at"].is_string() {
        line += &format!("  revoked at {}", text("revoked_at"));
    }
    line
}
