//! `fresnel keys`.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use clap::Subcommand;
use engine::Store;
use identity::{ApiKey, DEFAULT_TIER, Scopes, Secret, SecretKind, check_name};
use schemas::TimeSpan;

use crate::accounts::{found, now_s, time, with_store};
use crate::print::print;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes an API key, and prints it.
    Add {
        /// What the key is for, such as grafana.
        name: String,
        /// What the key allows: some of pose:read, analytics:read, system:read, config:write, zone:write,
        /// stream:subscribe, stream:publish and admin:all, separated by commas.
        #[arg(long)]
        scopes: Scopes,
        /// Time until the key expires, such as 90days; never by default.
        #[arg(long)]
        expires: Option<TimeSpan>,
        /// The tier of the key's rate limits.
        #[arg(long, default_value = DEFAULT_TIER)]
        tier: String,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Lists the API keys, without their secrets.
    Ls {
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Revokes an API key.
    Rm {
        /// The key's id, as `ls` prints it.
        id: String,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
}

impl KeysCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Add { name, scopes, expires, tier, store } => {
                check_name(&name)?;
                if scopes.is_empty() {
                    bail!("a key without scopes allows nothing");
                }
                let secret = Secret::generate(SecretKind::ApiKey)?;
                let created_at_s = now_s();
                let expires_at_s = expires.map(|expires| created_at_s + expires.as_ms() / 1000);
                let (id, hash) = (secret.id().to_owned(), secret.hash());
                let key = ApiKey { id, hash, name, scopes, tier, created_at_s, expires_at_s };
                with_store(&store, |store| {
                    let accounts = store.handle().accounts();
                    Ok(accounts.block_on(accounts.add_key(&key))?)
                })?;
                print(&format!("{}\n", secret.expose()))
            }
            Self::Ls { store } => print(&with_store(&store, list)?),
            Self::Rm { id, store } => with_store(&store, |store| {
                let accounts = store.handle().accounts();
                found(accounts.block_on(accounts.remove_key(&id))?, "key", &id)
            }),
        }
    }
}

fn list(store: &Store) -> Result<String> {
    let accounts = store.handle().accounts();
    let (made, expires) = ("MADE", "EXPIRES");
    let (id, name, tier) = ("ID", "NAME", "TIER");
    let mut text = format!("{id:<17} {name:<24} {tier:<14} {made:<21} {expires:<21} SCOPES\n");
    for key in accounts.block_on(accounts.keys())? {
        let expires = key.expires_at_s.map_or_else(|| "never".to_owned(), time);
        let (made, scopes) = (time(key.created_at_s), key.scopes);
        let ApiKey { id, name, tier, .. } = key;
        writeln!(text, "{id:<17} {name:<24} {tier:<14} {made:<21} {expires:<21} {scopes}")?;
    }
    Ok(text)
}
