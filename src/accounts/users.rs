//! `fresnel users`.

use std::fmt::Write as _;
use std::io;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use engine::Store;
use identity::{
    DEFAULT_TIER, PasswordHash, Role, User, check_name, check_password, generate_password,
};

use crate::accounts::{found, now_s, time, with_store};
use crate::print::print;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Adds a user, and prints a new password.
    Add {
        /// The user's name.
        name: String,
        /// viewer reads everything; operator also changes zones and the configuration; admin does everything.
        #[arg(long, value_parser = roles(), default_value = "viewer")]
        role: Role,
        /// The tier of the user's rate limits.
        #[arg(long, default_value = DEFAULT_TIER)]
        tier: String,
        /// Reads the password from standard input instead of making one.
        #[arg(long)]
        password_stdin: bool,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Lists the users.
    Ls {
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Sets a new password, prints it, and ends the user's sessions.
    Password {
        /// The user's name.
        name: String,
        /// Reads the password from standard input instead of making one.
        #[arg(long)]
        password_stdin: bool,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Removes a user, and ends the user's sessions.
    Rm {
        /// The user's name.
        name: String,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
}

impl UsersCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Add { name, role, tier, password_stdin, store } => {
                check_name(&name)?;
                let password = NewPassword::choose(password_stdin)?;
                with_store(&store, |store| add(store, name, role, tier, &password))?;
                password.print()
            }
            Self::Ls { store } => print(&with_store(&store, list)?),
            Self::Password { name, password_stdin, store } => {
                let password = NewPassword::choose(password_stdin)?;
                let hash = PasswordHash::of(&password.text)?;
                with_store(&store, |store| {
                    let accounts = store.handle().accounts();
                    found(accounts.block_on(accounts.set_password(&name, &hash))?, "user", &name)
                })?;
                password.print()
            }
            Self::Rm { name, store } => with_store(&store, |store| {
                let accounts = store.handle().accounts();
                found(accounts.block_on(accounts.remove_user(&name))?, "user", &name)
            }),
        }
    }
}

/// A password, and whether its user knows it already.
struct NewPassword {
    text: String,
    is_known: bool,
}

impl NewPassword {
    fn choose(from_stdin: bool) -> Result<Self> {
        if !from_stdin {
            return Ok(Self { text: generate_password()?, is_known: false });
        }
        let mut text = String::new();
        io::stdin().read_line(&mut text).context("could not read the password")?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        check_password(&text)?;
        Ok(Self { text, is_known: true })
    }

    fn print(&self) -> Result<()> {
        if self.is_known { Ok(()) } else { print(&format!("{}\n", self.text)) }
    }
}

fn add(
    store: &Store,
    name: String,
    role: Role,
    tier: String,
    password: &NewPassword,
) -> Result<()> {
    let password = PasswordHash::of(&password.text)?;
    let user = User { name, password, role, tier, created_at_s: now_s() };
    let accounts = store.handle().accounts();
    if !accounts.block_on(accounts.add_user(&user))? {
        bail!("user {:?} exists: `fresnel users password` sets a new password", user.name);
    }
    Ok(())
}

fn list(store: &Store) -> Result<String> {
    let accounts = store.handle().accounts();
    let mut text = format!("{:<24} {:<9} {:<14} {}\n", "NAME", "ROLE", "TIER", "ADDED");
    for user in accounts.block_on(accounts.users())? {
        let added = time(user.created_at_s);
        writeln!(text, "{:<24} {:<9} {:<14} {added}", user.name, user.role.as_str(), user.tier)?;
    }
    Ok(text)
}

/// Parses one of the roles, which completions then list.
fn roles() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|name| name.parse::<Role>())
}
