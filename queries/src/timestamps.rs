//! Timestamps in UTC beside the columns of nanoseconds: `captured_at` for `captured_at_ns`.
//!
//! Files are chosen by the columns that they have. So a condition on a timestamp also becomes one on its column
//! of nanoseconds.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{
    Expr, Operator, TableProviderFilterPushDown, TableType, cast, ident, lit, when,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;

/// The start of the year 2000. Earlier times count from the start of a device.
const FIRST_TIME_NS: i64 = 946_684_800_000_000_000;
/// The end of the name of a column of nanoseconds.
const NS: &str = "_ns";

/// Adds a timestamp in UTC for each column of nanoseconds. It is NULL for times that count from the start of a
/// device instead of the Unix epoch.
pub(crate) fn with_timestamps(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    let times = schema.fields().iter().filter_map(|field| {
        let name = field.name().strip_suffix(NS)?;
        let is_time = *field.data_type() == DataType::Int64 && schema.index_of(name).is_err();
        is_time.then(|| name.to_owned())
    });
    let times: Vec<_> = times.collect();
    if times.is_empty() {
        return Ok(table);
    }
    let frame = SessionContext::new().read_table(Arc::clone(&table))?;
    let schema = Arc::clone(add_timestamps(frame, &times)?.schema().inner());
    Ok(Arc::new(Timestamped { table, times, schema }))
}

/// A table with timestamps.
#[derive(Debug)]
struct Timestamped {
    table: Arc<dyn TableProvider>,
    /// The names of the timestamps.
    times: Vec<String>,
    schema: SchemaRef,
}

#[async_trait::async_trait]
impl TableProvider for Timestamped {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        // Rows that are not committed yet are a matter of this crate.
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut frame = SessionContext::new().read_table(Arc::clone(&self.table))?;
        for filter in filters.iter().filter_map(|filter| self.in_ns(filter)) {
            frame = frame.filter(filter)?;
        }
        let view = add_timestamps(frame, &self.times)?.into_view();
        view.scan(session, projection, filters, limit).await
    }
}

impl Timestamped {
    /// Returns the condition on nanoseconds that follows from one on a timestamp.
    fn in_ns(&self, filter: &Expr) -> Option<Expr> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        if *op == Operator::And {
            let conditions = [self.in_ns(left), self.in_ns(right)];
            return conditions.into_iter().flatten().reduce(Expr::and);
        }
        let (name, op, ns) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) => (&column.name, *op, ns_of(value)?),
            (Expr::Literal(value, _), Expr::Column(column)) => {
                (&column.name, op.swap()?, ns_of(value)?)
            }
            _ => return None,
        };
        let ns_column = || ident(format!("{name}{NS}"));
        let is_order = matches!(
            op,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::Eq
        );
        (is_order && self.times.contains(name)).then(|| {
            let (left, right) = (Box::new(ns_column()), Box::new(lit(ns)));
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        })
    }
}

fn ns_of(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(ns, _) => *ns,
        _ => None,
    }
}

fn add_timestamps(mut frame: DataFrame, times: &[String]) -> Result<DataFrame> {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    for name in times {
        let ns = ident(format!("{name}{NS}"));
        let since_epoch = ns.clone().gt_eq(lit(FIRST_TIME_NS));
        let timestamp = when(since_epoch, cast(ns, utc.clone())).end()?;
        frame = frame.with_column(name, timestamp)?;
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_on_timestamps_are_conditions_on_nanoseconds() {
        let (schema, times) = (Arc::new(arrow::datatypes::Schema::empty()), vec!["at".to_owned()]);
        let table = Arc::new(datafusion::datasource::empty::EmptyTable::new(Arc::clone(&schema)));
        let table = Timestamped { table, times, schema };
        let time = || lit(ScalarValue::TimestampNanosecond(Some(7), Some("UTC".into())));
        for (filter, expected) in [
            (ident("at").gt(time()), Some("at_ns > Int64(7)")),
            (time().lt(ident("at")), Some("at_ns > Int64(7)")),
            (ident("at").eq(time()), Some("at_ns = Int64(7)")),
            (
                ident("at").gt_eq(time()).and(ident("x").eq(lit(1))).and(ident("at").lt(time())),
                Some("at_ns >= Int64(7) AND at_ns < Int64(7)"),
            ),
            (ident("at").not_eq(time()), None),
            (ident("at").gt(time()).or(ident("x").eq(lit(1))), None),
            (ident("other").gt(time()), None),
        ] {
            let in_ns = table.in_ns(&filter).map(|condition| condition.to_string());
            assert_eq!(in_ns.as_deref(), expected, "{filter}");
        }
    }
}
