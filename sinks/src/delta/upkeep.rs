//! The upkeep of tables: many small files become a few large ones, beside the commits that go on.
//!
//! Readers are not disturbed: they see the table before or after, and the files of the table before
//! stay until nobody can be reading them any more.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use deltalake::DeltaTableError;
use deltalake::operations::vacuum::VacuumMode;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::delta::table::open;

/// Files that are added to a table until it is looked after.
const FILES: usize = 64;
/// Files of this size are left as they are.
const LARGE_BYTES: NonZeroU64 = NonZeroU64::new(64 * 1024 * 1024).expect("it is not zero");

/// Looks after the tables that a sink adds to, one at a time.
#[derive(Debug)]
pub(super) struct Upkeep {
    runtime: Handle,
    /// Files that were added to each table since it was looked after.
    n_added: BTreeMap<PathBuf, usize>,
    under_way: Option<JoinHandle<()>>,
}

impl Upkeep {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, n_added: BTreeMap::new(), under_way: None }
    }

    /// Says that a file was added to a table; when it were many, they are looked after.
    pub(super) fn added_to(&mut self, path: &Path) {
        let n_added = self.n_added.entry(path.to_owned()).or_default();
        *n_added += 1;
        let busy = self.under_way.as_ref().is_some_and(|task| !task.is_finished());
        if *n_added < FILES || busy {
            return;
        }
        *n_added = 0;
        let path = path.to_owned();
        self.under_way = Some(self.runtime.spawn(async move {
            if let Err(error) = look_after(&path).await {
                tracing::warn!(%error, table = %path.display(), "could not look after the table; it is tried again");
            }
        }));
    }
}

/// Makes large files of small ones, and removes what no version of the last week has, whether it ever
/// was in one or its writer was killed before.
async fn look_after(path: &Path) -> Result<(), DeltaTableError> {
    let table = open(path).await?;
    let (table, _) = table.optimize().with_target_size(LARGE_BYTES).await?;
    table.vacuum().with_mode(VacuumMode::Full).await?;
    Ok(())
}
