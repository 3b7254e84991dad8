//! The keys of the API: how they are made, found, listed and revoked. A key is kept as the SHA-256 of its secret part,
//! so that a copy of the catalog opens nothing.
//!
//! A key's text is `wpk_ID_SECRET`: 16 hexadecimal digits, and 256 random bits in base64url.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{
    CatalogHandle,
    act::Act,
    act::{new_act_id, write_act},
    error::CatalogError,
    query::CatalogReader,
    store::{Store, StoreError},
};
use crate::{clock, word_enum::word_enum};

/// What each key's text begins with, so that tools find keys that leak.
const PREFIX: &str = "wpk_";

word_enum! {
    /// What a key permits.
    pub enum Scope {
        /// To read links, their history and the status.
        Read = "read",
        /// To create, change and remove links.
        Write = "write",
        /// To suspend links and to end a suspension.
        Suspend = "suspend",
        /// To freeze, roll back, change domains, and make API keys.
        Admin = "admin",
    }
}

/// The links that a key reaches: those that match every bound that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBounds {
    /// Names of domains, in lower case; `None`: every one.
    pub domains: Option<Vec<String>>,
    /// Ids of partners; `None`: every one, and links without a partner.
    pub partners: Option<Vec<String>>,
    /// Ids of creators; `None`: every one, and links without a creator.
    pub creators: Option<Vec<String>>,
}

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, which its text names.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The hash of its secret part.
    pub secret_sha256: [u8; 32],
    /// What it permits.
    pub scopes: Vec<Scope>,
    /// The links that it reaches.
    pub bounds: KeyBounds,
    /// Its creation, milliseconds since the epoch.
    pub created_ms: u64,
    /// Since when it is refused; `None`: it is not.
    pub revoked_ms: Option<u64>,
}

/// A key that is asked for.
#[derive(Clone, Debug)]
pub struct ApiKeyRequest {
    /// What people will call it.
    pub name: String,
    /// What it is to permit.
    pub scopes: Vec<Scope>,
    /// The links that it is to reach.
    pub bounds: KeyBounds,
}

/// A new key with its secret, which nothing keeps.
pub struct IssuedApiKey {
    /// The key.
    pub key: ApiKey,
    /// What a client sends: `wpk_ID_SECRET`.
    pub text: String,
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The key is refused from now on, or was refused before.
    Revoked,
    /// There is no such key.
    UnknownId,
}

/// Splits the text of a key into its id and its secret part.
pub fn split_api_key_text(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(PREFIX)?.split_once('_').filter(|(id, secret)| !id.is_empty() && !secret.is_empty())
}

/// The hash under which a secret part is kept.
pub fn hash_api_key_secret(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl CatalogReader {
    /// The key of this id, revoked or not.
    pub fn find_api_key(&self, id: &str) -> rusqlite::Result<Option<ApiKey>> {
        let sql = format!("{SELECT} WHERE id = ?1");
        self.0.prepare_cached(&sql)?.query_row([id], api_key_of_row).optional()
    }

    /// Every key, the latest last.
    pub fn list_api_keys(&self) -> rusqlite::Result<Vec<ApiKey>> {
        list_api_keys(&self.0)
    }
}

impl CatalogHandle {
    /// Makes a key. Resolves once it is on the disk.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub async fn create_api_key(&self, request: ApiKeyRequest, actor: String) -> Result<IssuedApiKey, CatalogError> {
        self.write_rows(move |connection| create_api_key(connection, request, &actor)).await
    }

    /// Revokes a key. Resolves once that is on the disk.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub async fn revoke_api_key(&self, id: String, actor: String) -> Result<Revocation, CatalogError> {
        self.write_rows(move |connection| revoke_api_key(connection, &id, &actor)).await
    }
}

/// The keys in the catalog of a data directory that this process has locked.
pub struct ApiKeyStore(Store);

impl ApiKeyStore {
    /// Opens the catalog, or makes it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open_or_create(data_dir: &Path) -> Result<ApiKeyStore, StoreError> {
        let path = data_dir.join(super::FILE_NAME);
        let opened = Store::open_or_create(&path).map_err(|error| error.or_damaged(&path));
        opened.map(|(store, _)| ApiKeyStore(store))
    }

    /// Makes a key.
    ///
    /// # Errors
    /// The store fails.
    pub fn create(&self, request: ApiKeyRequest, actor: &str) -> Result<IssuedApiKey, StoreError> {
        self.write(|connection| create_api_key(connection, request, actor))
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// The store fails.
    pub fn revoke(&self, id: &str, actor: &str) -> Result<Revocation, StoreError> {
        self.write(|connection| revoke_api_key(connection, id, actor))
    }

    /// Runs `write` in one transaction, so that no key is without its act.
    fn write<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let transaction = Transaction::new_unchecked(&self.0.connection, TransactionBehavior::Immediate)?;
        let written = write(&transaction)?;
        transaction.commit()?;
        Ok(written)
    }

    /// Every key, the latest last.
    ///
    /// # Errors
    /// The store fails.
    pub fn list(&self) -> Result<Vec<ApiKey>, StoreError> {
        Ok(list_api_keys(&self.0.connection)?)
    }
}

const SELECT: &str =
    "SELECT id, name, sha256, scopes, domains, partners, creators, created_ms, revoked_ms FROM api_key";

fn list_api_keys(connection: &Connection) -> rusqlite::Result<Vec<ApiKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY created_ms, id"))?;
    statement.query_map([], api_key_of_row)?.collect()
}

fn create_api_key(connection: &Connection, request: ApiKeyRequest, actor: &str) -> rusqlite::Result<IssuedApiKey> {
    let ApiKeyRequest { name, scopes, bounds } = request;
    let mut random = [0; 40];
    SysRng.try_fill_bytes(&mut random).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let id: String = random[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = URL_SAFE_NO_PAD.encode(&random[8..]);
    let text = format!("{PREFIX}{id}_{secret}");
    let secret_sha256 = hash_api_key_secret(&secret);
    let key = ApiKey { id, name, secret_sha256, scopes, bounds, created_ms: clock::wall_ms(), revoked_ms: None };
    let words: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let to_json = |list: &Option<Vec<String>>| list.as_ref().map(|list| serde_json::json!(list).to_string());
    let sql = "INSERT INTO api_key (id, name, sha256, scopes, domains, partners, creators, created_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        key.id,
        key.name,
        key.secret_sha256,
        serde_json::json!(words).to_string(),
        to_json(&key.bounds.domains),
        to_json(&key.bounds.partners),
        to_json(&key.bounds.creators),
        key.created_ms
    ])?;
    write_key_act(connection, actor, "api-key-new", format!("{} ({})", key.id, key.name))?;
    Ok(IssuedApiKey { key, text })
}

fn revoke_api_key(connection: &Connection, id: &str, actor: &str) -> rusqlite::Result<Revocation> {
    let sql = "UPDATE api_key SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1";
    if connection.prepare_cached(sql)?.execute(params![id, clock::wall_ms()])? == 0 {
        return Ok(Revocation::UnknownId);
    }
    write_key_act(connection, actor, "api-key-revoke", id.to_owned())?;
    Ok(Revocation::Revoked)
}

fn write_key_act(connection: &Connection, actor: &str, action: &str, key: String) -> rusqlite::Result<()> {
    let act = Act { id: new_act_id(), actor: actor.to_owned(), reason: Some(key) };
    write_act(connection, &act, action, clock::wall_ms())
}

fn api_key_of_row(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let list = |at: usize| -> rusqlite::Result<Option<Vec<String>>> {
        let text: Option<String> = row.get(at)?;
        // A bound that cannot be read reaches nothing.
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
    };
    let scopes = list(3)?.unwrap_or_default();
    Ok(ApiKey {
        id: row.get(0)?,
        name: row.get(1)?,
        secret_sha256: row.get(2)?,
        scopes: scopes.iter().filter_map(|word| Scope::from_word(word)).collect(),
        bounds: KeyBounds { domains: list(4)?, partners: list(5)?, creators: list(6)? },
        created_ms: row.get(7)?,
        revoked_ms: row.get(8)?,
    })
}
