//! The lease of a pipeline: the process that runs it increments a heartbeat counter while it is alive.
//!
//! Clocks of different hosts are not compared: a process that waits for the lease watches the counter
//! with its own clock. A holder that is asked for the lease passes it on after it has stopped.

use sqlx::Row;

use crate::StoreError;
use crate::store::StoreHandle;
use crate::store::holder::Holder;

/// The stored state of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseState {
    holder: String,
    heartbeat: i64,
}

/// A process's access to the lease of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    store: StoreHandle,
    pipeline: String,
    /// Names this process in the store.
    own: String,
}

/// The result of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// This process holds the lease.
    Held,
    /// This process holds the lease, and another process asks for it.
    Asked(String),
    /// Another process holds the lease, and has not begun its run.
    Elsewhere,
}

impl LeaseState {
    #[cfg(test)]
    pub(crate) fn new(holder: &str, heartbeat: i64) -> Self {
        Self { holder: holder.to_owned(), heartbeat }
    }

    /// True if no process holds the lease.
    pub(crate) fn is_free(&self) -> bool {
        self.holder.is_empty()
    }

    pub(crate) fn has_same_holder(&self, other: &Self) -> bool {
        self.holder == other.holder
    }

    /// True if this process can detect that the holder has ended.
    pub(crate) fn is_gone(&self) -> bool {
        Holder::decode(&self.holder).is_some_and(|holder| holder.is_gone())
    }

    /// Returns the holder's name, for messages.
    pub(crate) fn holder(&self) -> String {
        name(&self.holder)
    }
}

/// Formats a holder for messages.
fn name(holder: &str) -> String {
    Holder::decode(holder).map_or_else(|| holder.to_owned(), |holder| holder.to_string())
}

impl Lease {
    /// Creates the access of a new holder.
    pub(super) fn new(store: StoreHandle, pipeline: &str) -> Self {
        Self { store, pipeline: pipeline.to_owned(), own: Holder::new().encode() }
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// True if this process already holds the lease, because it was passed on.
    pub(crate) fn is_own(&self, held: &LeaseState) -> bool {
        held.holder == self.own
    }

    /// Reads the lease; none if there never was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn read(&self) -> Result<Option<LeaseState>, StoreError> {
        let select = sqlx::query("SELECT holder, heartbeat FROM leases WHERE pipeline = $1");
        let select = select.bind(self.pipeline.as_str());
        let row = self.store.block_on(select.fetch_optional(&self.store.leases))?;
        let held = row.map(|row| {
            Ok::<_, sqlx::Error>(LeaseState { holder: row.try_get(0)?, heartbeat: row.try_get(1)? })
        });
        Ok(held.transpose()?)
    }

    /// Takes the lease if it is unchanged since it was read. Returns false otherwise: its holder is
    /// alive, or another process was faster.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn take(&self, read: Option<&LeaseState>) -> Result<bool, StoreError> {
        let (holder, heartbeat) = read.map_or(("", 0), |held| (&*held.holder, held.heartbeat));
        let take = sqlx::query(
            "INSERT INTO leases (pipeline, holder, heartbeat, handover) VALUES ($1, $2, 1, '')
             ON CONFLICT (pipeline) DO UPDATE SET holder = excluded.holder,
             heartbeat = leases.heartbeat + 1, handover = ''
             WHERE leases.holder = $3 AND leases.heartbeat = $4",
        );
        let take = take.bind(self.pipeline.as_str()).bind(self.own.as_str());
        let take = take.bind(holder).bind(heartbeat).execute(&self.store.leases);
        Ok(self.store.block_on(take)?.rows_affected() == 1)
    }

    /// Asks the holder to stop in order and to pass the lease on, unless another process has asked
    /// already.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn ask(&self, held: &LeaseState) -> Result<(), StoreError> {
        let ask = sqlx::query(
            "UPDATE leases SET handover = $1
             WHERE pipeline = $2 AND holder = $3 AND handover = ''",
        );
        let ask = ask.bind(self.own.as_str()).bind(self.pipeline.as_str());
        let ask = ask.bind(held.holder.as_str()).execute(&self.store.leases);
        self.store.block_on(ask)?;
        Ok(())
    }

    /// Sends a heartbeat, and takes the lease back if it is free. `generation` is the run's generation,
    /// once the run has taken it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if a newer run has begun; another error if the database fails.
    pub(crate) fn beat(&self, generation: Option<i64>) -> Result<Beat, StoreError> {
        let beat = async {
            let mut transaction = self.store.leases.begin().await?;
            // The write is first, so that two processes with one file wait for each other.
            let beat = sqlx::query(
                "UPDATE leases SET holder = $1, heartbeat = heartbeat + 1
                 WHERE pipeline = $2 AND (holder = $1 OR holder = '')",
            );
            let beat = beat.bind(self.own.as_str()).bind(self.pipeline.as_str());
            let is_held = beat.execute(&mut *transaction).await?.rows_affected() == 1;
            let newest = sqlx::query("SELECT generation FROM pipelines WHERE name = $1");
            let newest = newest.bind(self.pipeline.as_str()).fetch_optional(&mut *transaction);
            let newest = newest.await?.map(|row| row.try_get::<i64, _>(0)).transpose()?;
            if let Some(generation) = generation.filter(|_| newest != generation) {
                let pipeline = self.pipeline.clone();
                return Err(StoreError::Fenced { pipeline, generation });
            }
            let handover = sqlx::query("SELECT handover FROM leases WHERE pipeline = $1");
            let handover = handover.bind(self.pipeline.as_str()).fetch_one(&mut *transaction);
            let handover = handover.await?.try_get::<String, _>(0)?;
            transaction.commit().await?;
            Ok(match (is_held, handover) {
                (false, _) => Beat::Elsewhere,
                (true, handover) if handover.is_empty() => Beat::Held,
                (true, handover) => Beat::Asked(name(&handover)),
            })
        };
        self.store.block_on(beat)
    }

    /// Frees the lease, as if its holder were gone.
    #[cfg(test)]
    pub(crate) fn end(&self) -> Result<(), StoreError> {
        let end = sqlx::query("UPDATE leases SET holder = '' WHERE pipeline = $1");
        let end = end.bind(self.pipeline.as_str()).execute(&self.store.leases);
        self.store.block_on(end)?;
        Ok(())
    }

    /// Passes the lease on to the process that asks for it, or frees it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn release(&self) -> Result<(), StoreError> {
        let release = async {
            let mut transaction = self.store.leases.begin().await?;
            sqlx::query(
                "UPDATE leases SET holder = handover, heartbeat = heartbeat + 1, handover = ''
                 WHERE pipeline = $1 AND holder = $2",
            )
            .bind(self.pipeline.as_str())
            .bind(self.own.as_str())
            .execute(&mut *transaction)
            .await?;
            sqlx::query("UPDATE leases SET handover = '' WHERE pipeline = $1 AND handover = $2")
                .bind(self.pipeline.as_str())
                .bind(self.own.as_str())
                .execute(&mut *transaction)
                .await?;
            Ok::<_, StoreError>(transaction.commit().await?)
        };
        self.store.block_on(release)
    }
}
