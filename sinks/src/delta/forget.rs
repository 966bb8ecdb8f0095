//! Forgets a person: no table of a history tells of them any more.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, filter};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use chrono::TimeDelta;
use deltalake::DeltaTableError;
use deltalake::datafusion::error::Result as DataFusionResult;
use deltalake::datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use deltalake::datafusion::prelude::{col, lit};
use schemas::RecordKind;

use crate::SinkError;
use crate::delta::table::{failed, open};

/// The kinds of records that tell of persons.
const KINDS: [RecordKind; 4] =
    [RecordKind::Pose, RecordKind::Occupancy, RecordKind::Activity, RecordKind::Event];
/// The column of poses and occupancy that lists them.
const PERSONS: &str = "persons";
/// The column of activities and events that names one.
const SUBJECT: &str = "subject";

/// Takes a person out of the poses, occupancy, activities and events of a history. Rows that are about
/// them go, others stay without them. Tables of rows that a pipeline defined itself stay as they are,
/// and so does what a running pipeline has not committed yet.
///
/// Files of earlier versions are removed too, because they tell of the person: a query that reads them
/// just now may fail.
///
/// # Errors
///
/// [`SinkError`] if a table cannot be read or changed; those before it are done with.
pub fn forget(history: &Path, person: &str) -> Result<(), SinkError> {
    let prepare = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok((history.canonicalize()?, runtime))
    };
    let (history, runtime) =
        prepare().map_err(|source| SinkError::Open { path: history.to_owned(), source })?;
    let tables = KINDS.map(|kind| (kind, history.join(kind.table())));
    for (kind, path) in tables.iter().filter(|(_, path)| path.join("_delta_log").is_dir()) {
        let forgotten = runtime.block_on(forget_in(path, *kind, person));
        forgotten.map_err(|source| failed(path, source))?;
    }
    Ok(())
}

async fn forget_in(path: &Path, kind: RecordKind, person: &str) -> Result<(), DeltaTableError> {
    let table = open(path).await?;
    let table = if matches!(kind, RecordKind::Pose | RecordKind::Occupancy) {
        let update = table.update().with_predicate(call(Lists::Mentions, person));
        update.with_update(PERSONS, call(Lists::Without, person)).await?.0
    } else {
        table.delete().with_predicate(col(SUBJECT).eq(lit(person))).await?.0
    };
    let vacuum = table.vacuum().with_retention_period(TimeDelta::zero());
    vacuum.with_enforce_retention_duration(false).await?;
    Ok(())
}

/// What is asked of lists of persons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lists {
    /// Whether a person is in them.
    Mentions,
    /// The lists without the person.
    Without,
}

/// A function of the list of persons, who are names or have an `id`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfPersons {
    lists: Lists,
    person: String,
    signature: Signature,
}

fn call(lists: Lists, person: &str) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = OfPersons { lists, person: person.to_owned(), signature };
    ScalarUDF::new_from_impl(function).call(vec![col(PERSONS)])
}

impl ScalarUDFImpl for OfPersons {
    fn name(&self) -> &'static str {
        match self.lists {
            Lists::Mentions => "mentions_person",
            Lists::Without => "without_person",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.lists {
            Lists::Mentions => DataType::Boolean,
            Lists::Without => arguments[0].clone(),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let persons = arguments.args[0].to_array(arguments.number_rows)?;
        let lists: &ListArray = persons.as_list();
        let result = match self.lists {
            Lists::Mentions => mentions(lists, &self.person)?,
            Lists::Without => without(lists, &self.person)?,
        };
        Ok(ColumnarValue::Array(result))
    }
}

/// True for each person of all lists who is another one.
fn others(lists: &ListArray, person: &str) -> Result<BooleanArray, ArrowError> {
    let persons = lists.values();
    let ids = persons.as_struct_opt().and_then(|persons| persons.column_by_name("id"));
    let ids = cast(ids.unwrap_or(persons), &DataType::Utf8)?;
    let ids: &StringArray = ids.as_string();
    Ok(ids.iter().map(|id| Some(id != Some(person))).collect())
}

/// How many of each list are kept.
fn lengths<'a>(
    lists: &'a ListArray,
    kept: &'a BooleanArray,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    lists.offsets().windows(2).map(|bounds| {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        let n_kept = (start..end).filter(|person| kept.value(*person)).count();
        (n_kept, end - start)
    })
}

fn mentions(lists: &ListArray, person: &str) -> Result<ArrayRef, ArrowError> {
    let others = others(lists, person)?;
    let mentions = lengths(lists, &others).map(|(n_others, n_all)| Some(n_others < n_all));
    Ok(Arc::new(mentions.collect::<BooleanArray>()))
}

fn without(lists: &ListArray, person: &str) -> Result<ArrayRef, ArrowError> {
    let (DataType::List(element), others) = (lists.data_type(), others(lists, person)?) else {
        return Ok(Arc::new(lists.clone()));
    };
    let lengths = lengths(lists, &others).map(|(n_others, _)| n_others);
    let offsets = OffsetBuffer::from_lengths(lengths);
    // Persons before and behind the lists, of which this may be a part, are in none.
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
        let mentions = mentions(&all, "a").expect("they are text");
        let mentions: Vec<_> = mentions.as_boolean().iter().flatten().collect();
        assert_eq!(mentions, [true, false, true, false, true]);
    }
}
