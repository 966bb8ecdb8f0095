//! Removes a person from the tables of a history.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, filter};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use chrono::TimeDelta;
use deltalake::datafusion::error::Result as DataFusionResult;
use deltalake::datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use deltalake::datafusion::prelude::{col, lit};
use deltalake::kernel::transaction::TransactionError;
use deltalake::{DeltaTable, DeltaTableError};
use schemas::RecordKind;
use storage::Location;

use crate::delta::table::failed;
use crate::{REJECTED_TABLE, SinkError};

/// The kinds of records that contain persons.
const KINDS: [RecordKind; 4] =
    [RecordKind::Pose, RecordKind::Occupancy, RecordKind::Activity, RecordKind::Event];
/// The column of poses and occupancy that lists persons.
const PERSONS: &str = "persons";
/// Attempts for each table.
const TRIES: usize = 10;
/// The column of activities and events that names a person.
const SUBJECT: &str = "subject";

/// Removes a person from the poses, occupancy, activities and events of a history. Activities and
/// events of the person are deleted; poses and occupancy stay, without the person. Rejected records
/// that may contain any person are deleted. Tables of rows that a pipeline defines itself do not
/// change, nor do rows that a running pipeline has not committed yet.
///
/// Files of earlier versions contain the person, and are removed too. A query that reads them at that
/// moment may fail.
///
/// # Errors
///
/// [`SinkError`] if a table cannot be read or changed; tables before it are already changed.
pub fn forget(history: &Location, person: &str) -> Result<(), SinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| SinkError::Open { path: history.to_path(), source })?;
    runtime.block_on(async {
        let history = history.clone().absolute();
        let existing = history.tables().await?;
        let tables = KINDS.map(|kind| (Some(kind), kind.table()));
        let tables = tables.into_iter().chain([(None, REJECTED_TABLE)]);
        for (kind, table) in tables.filter(|(_, table)| existing.iter().any(|it| it == table)) {
            let place = history.join(table);
            let forgotten = forget_in(&place, kind, person).await;
            forgotten.map_err(|source| failed(&place, source))?;
        }
        Ok(())
    })
}

/// Removes a person from one table; without a kind, from the table of dead letters. Retries when the
/// maintenance of a running pipeline commits in between.
async fn forget_in(
    place: &Location,
    kind: Option<RecordKind>,
    person: &str,
) -> Result<(), DeltaTableError> {
    let mut n_tries = 1;
    let table = loop {
        match take_out(place.open().await?, kind, person).await {
            Err(error) if is_conflict(&error) && n_tries < TRIES => n_tries += 1,
            table => break table?,
        }
    };
    // Removes only files that the table does not use any more; files of pending commits stay.
    let vacuum = table.vacuum().with_retention_period(TimeDelta::zero());
    vacuum.with_enforce_retention_duration(false).await?;
    // The removal must survive a power cut.
    Ok(place.settle_table()?)
}

async fn take_out(
    table: DeltaTable,
    kind: Option<RecordKind>,
    person: &str,
) -> Result<DeltaTable, DeltaTableError> {
    let Some(kind) = kind else {
        // The persons of a rejected record are only in its text.
        let of_persons = KINDS.map(|kind| col("kind").eq(lit(kind.as_str())));
        let of_persons = of_persons.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(true));
        return Ok(table.delete().with_predicate(of_persons).await?.0);
    };
    if matches!(kind, RecordKind::Pose | RecordKind::Occupancy) {
        // Updates all rows: the conflict check of a commit cannot evaluate a filter by person.
        Ok(table.update().with_update(PERSONS, without_person(person)).await?.0)
    } else {
        Ok(table.delete().with_predicate(col(SUBJECT).eq(lit(person))).await?.0)
    }
}

fn is_conflict(error: &DeltaTableError) -> bool {
    let DeltaTableError::Transaction { source } = error else { return false };
    matches!(source, TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_))
}

/// A function that returns a list of persons, which are names or have an `id`, without one of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Without {
    person: String,
    signature: Signature,
}

fn without_person(person: &str) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(Without { person: person.to_owned(), signature })
        .call(vec![col(PERSONS)])
}

impl ScalarUDFImpl for Without {
    fn name(&self) -> &'static str {
        "without_person"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let persons = arguments.args[0].to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(without(persons.as_list(), &self.person)?))
    }
}

/// Returns true for each entry of the lists that is another person.
fn others(lists: &ListArray, person: &str) -> Result<BooleanArray, ArrowError> {
    let persons = lists.values();
    let ids = persons.as_struct_opt().and_then(|persons| persons.column_by_name("id"));
    let ids = cast(ids.unwrap_or(persons), &DataType::Utf8)?;
    let ids: &StringArray = ids.as_string();
    Ok(ids.iter().map(|id| Some(id != Some(person))).collect())
}

fn without(lists: &ListArray, person: &str) -> Result<ArrayRef, ArrowError> {
    let (DataType::List(element), others) = (lists.data_type(), others(lists, person)?) else {
        return Ok(Arc::new(lists.clone()));
    };
    let lengths = lists.offsets().windows(2).map(|bounds| {
        (bounds[0]..bounds[1]).filter(|person| others.value(*person as usize)).count()
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    // A slice shares its values: persons before and after its lists are left out.
    let bounds = lists.offsets();
    let (first, last) = (bounds[0] as usize, bounds[bounds.len() - 1] as usize);
    let persons = lists.values().slice(first, last - first);
    let persons = filter(&persons, &others.slice(first, last - first))?;
    let nulls = lists.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, persons, nulls)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListBuilder, StringBuilder};

    use super::*;

    #[test]
    fn one_person_leaves_all_lists() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for persons in [vec!["a"], vec![], vec!["b", "a", "c"], vec!["c"], vec!["a"]] {
            lists.append_value(persons.into_iter().map(Some));
        }
        let all = lists.finish();
        let rest = |lists: &ListArray| {
            let rest = without(lists, "a").expect("they are text");
            let rest = rest.as_list::<i32>().iter().flatten();
            let rest = rest
                .map(|list| list.as_string::<i32>().iter().flatten().map(str::to_owned).collect());
            rest.collect::<Vec<Vec<String>>>()
        };
        assert_eq!(rest(&all), [vec![], vec![], vec!["b", "c"], vec!["c"], vec![]]);
        assert_eq!(rest(&all.slice(2, 2)), [vec!["b", "c"], vec!["c"]], "of a part");
    }
}
