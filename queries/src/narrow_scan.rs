//! Table scans that skip some fields of the structs in a column.
//!
//! The plan of a Delta table has two nodes: `DataSourceExec` reads Parquet files, and `DeltaScanExec` above it applies
//! deletion vectors, column mappings and partitions. Tables of Fresnel have none of these. So a `DataSourceExec` with a
//! schema of fewer fields replaces both nodes, and the Parquet reader skips the columns of the missing fields.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{cast, col};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// The name of the node above the scan of files.
const DELTA_SCAN: &str = "DeltaScanExec";

/// A table without some fields of the structs in its columns.
#[derive(Debug)]
pub(crate) struct NarrowScan {
    table: Arc<dyn TableProvider>,
    /// The names of the dropped fields.
    dropped: &'static [&'static str],
    schema: SchemaRef,
    /// True for a Delta table whose files have its rows as they are.
    is_plain: bool,
}

impl NarrowScan {
    pub(crate) fn new(
        table: Arc<dyn TableProvider>,
        dropped: &'static [&'static str],
        is_plain: bool,
    ) -> Self {
        let schema = without(dropped, &table.schema());
        Self { table, dropped, schema, is_plain }
    }

    fn is_narrow(&self, column: &str) -> bool {
        let [before, after] = [self.table.schema(), self.schema()]
            .map(|schema| schema.field_with_name(column).map(|it| it.data_type().clone()).ok());
        before != after
    }
}

#[async_trait::async_trait]
impl TableProvider for NarrowScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut supported = self.table.supports_filters_pushdown(filters)?;
        for (filter, supported) in filters.iter().zip(&mut supported) {
            if filter.column_refs().iter().any(|column| self.is_narrow(&column.name)) {
                *supported = TableProviderFilterPushDown::Unsupported;
            }
        }
        Ok(supported)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.table.scan(session, projection, filters, limit).await?;
        let columns = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema(),
        };
        let files = if self.is_plain { narrow_files(&plan, self.dropped)? } else { None };
        let input = files.unwrap_or(plan);
        let columns = columns.fields().iter().map(|field| narrowed(field, &input));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
    }
}

/// Returns the scan of the files of a Delta table without some fields; none if the node above it has work to do, or if
/// there is another node between them.
fn narrow_files(
    plan: &Arc<dyn ExecutionPlan>,
    dropped: &[&str],
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let [files] = plan.children()[..] else { return Ok(None) };
    let (of_files, of_table) = (files.schema(), plan.schema());
    let has = |field: &FieldRef| of_files.index_of(field.name()).is_ok();
    let Some(files) = files.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let Some(config) = files.data_source().downcast_ref::<FileScanConfig>() else {
        return Ok(None);
    };
    let Some(source) = config.file_source().downcast_ref::<ParquetSource>() else {
        return Ok(None);
    };
    if plan.name() != DELTA_SCAN || !of_table.fields().iter().all(has) {
        return Ok(None);
    }
    let config = FileScanConfigBuilder::from(config.clone());
    let config = config.with_source(narrow_source(source, dropped)?).build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

fn narrow_source(source: &ParquetSource, dropped: &[&str]) -> Result<Arc<dyn FileSource>> {
    let schema = source.table_schema();
    let columns = without(dropped, schema.file_schema());
    let partition_columns = schema.table_partition_cols().to_vec();
    let schema = TableSchema::builder(columns).with_table_partition_cols(partition_columns).build();
    let mut narrow = ParquetSource::new(schema)
        .with_table_parquet_options(source.table_parquet_options().clone())
        .with_pushdown_filters(true);
    if let Some(factory) = source.parquet_file_reader_factory() {
        narrow = narrow.with_parquet_file_reader_factory(Arc::clone(factory));
    }
    if let Some(predicate) = source.filter() {
        narrow = narrow.with_predicate(predicate);
    }
    let projected = source.projection().map(|columns| narrow.try_pushdown_projection(columns));
    Ok(projected.transpose()?.flatten().unwrap_or_else(|| Arc::new(narrow)))
}

/// Returns a column of `input` as a field, by a cast if its type is another one.
fn narrowed(field: &Field, input: &Arc<dyn ExecutionPlan>) -> Result<ProjectionExpr> {
    let schema = input.schema();
    let column = col(field.name(), &schema)?;
    let is_there = schema.field_with_name(field.name())?.data_type() == field.data_type();
    let expr = if is_there { column } else { cast(column, &schema, field.data_type().clone())? };
    Ok(ProjectionExpr { expr, alias: field.name().clone() })
}

/// Returns the columns without some fields of the structs in lists. The other fields may be NULL, since readers of files
/// do not rely on what a table says of them.
fn without(fields: &[&str], schema: &SchemaRef) -> SchemaRef {
    let narrow =
        |field: &FieldRef| field.as_ref().clone().with_data_type(narrow(fields, field.data_type()));
    Arc::new(Schema::new(schema.fields().iter().map(narrow).collect::<Vec<_>>()))
}

fn narrow(fields: &[&str], data_type: &DataType) -> DataType {
    let nullable = |field: &FieldRef| {
        let data_type = narrow(fields, field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true))
    };
    match data_type {
        DataType::List(item) => DataType::List(nullable(item)),
        DataType::Struct(of_struct) => {
            let kept = of_struct.iter().filter(|field| !fields.contains(&field.name().as_str()));
            DataType::Struct(kept.map(nullable).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schemas::{Keypoint, Person, PoseFrame, Record, RecordKind, SitePosition};
    use serde_json::{Value, json};
    use storage::Location;

    use super::*;
    use crate::{Format, History, Query};

    const N_FRAMES: u16 = 2000;

    /// Frames of one person, most of whose bytes are keypoints.
    fn frames() -> Vec<Record> {
        let frame = |nth: u16| {
            let x = f32::from(nth) * 0.001;
            let keypoint = |id| Keypoint { id, x: x * f32::from(id), y: x, ..Keypoint::default() };
            let person = Person {
                id: "p1".to_owned(),
                position: nth.is_multiple_of(2).then_some(SitePosition { x_m: x, y_m: 1.0 }),
                keypoints: (0..17).map(keypoint).collect(),
                ..Person::default()
            };
            let captured_at_ns = i64::from(nth);
            Record::Pose(PoseFrame {
                persons: vec![person],
                captured_at_ns,
                ..PoseFrame::default()
            })
        };
        (0..N_FRAMES).map(frame).collect()
    }

    /// Writes a table, whose files readers may or may not take as they are.
    async fn write(folder: &Path, is_plain: bool) {
        let batch = RecordKind::Pose.to_batch(&frames()).expect("poses");
        let table = Location::from(folder.to_owned()).join(RecordKind::Pose.table()).open().await;
        let table = table.expect("room").write([batch]).await.expect("it is written");
        if !is_plain {
            let property = ("delta.enableDeletionVectors".to_owned(), "true".to_owned());
            let set = table.set_tbl_properties().with_properties([property].into());
            set.await.expect("it is known");
        }
    }

    async fn answer(folder: &Path, sql: &str) -> Value {
        let history = History::new(folder.to_owned().into(), None);
        let answer = history.query(&Query::new(sql, Format::Json)).await.expect("rows");
        serde_json::from_slice(&answer.encode(Format::Json).expect("JSON")).expect("JSON")
    }

    /// The sum of a metric of the plan of a query, such as `1.5 K`.
    async fn n_bytes(folder: &Path, sql: &str) -> f64 {
        let plan = answer(folder, &format!("EXPLAIN ANALYZE {sql}")).await;
        let plan = plan[0]["plan"].as_str().expect("a plan").to_owned();
        let (_, metric) = plan.split_once("bytes_scanned=").expect("a scan");
        let (number, unit) = metric.split(',').next().and_then(|it| it.split_once(' ')).expect("K");
        let unit = ["K", "M"].iter().position(|it| *it == unit).expect("K or M");
        number.parse::<f64>().expect("a number") * [1e3, 1e6][unit]
    }

    #[tokio::test]
    async fn fields_that_are_not_named_are_not_read() {
        let sums = "SELECT count(*) AS n, count(x_m) AS n_x, sum(y_m) AS y FROM persons";
        let expected =
            json!([{ "n": N_FRAMES, "n_x": N_FRAMES / 2, "y": f64::from(N_FRAMES / 2) }]);
        for is_plain in [true, false] {
            let folder = tempfile::tempdir().expect("room");
            write(folder.path(), is_plain).await;
            assert_eq!(answer(folder.path(), sums).await, expected, "{is_plain}");
            let plan = answer(folder.path(), &format!("EXPLAIN {sums}")).await.to_string();
            assert_eq!(!plan.contains(DELTA_SCAN), is_plain, "{plan}");
            if is_plain {
                let all = n_bytes(folder.path(), "SELECT count(persons) FROM poses").await;
                let few = n_bytes(folder.path(), "SELECT count(x_m) FROM persons").await;
                assert!(few * 5.0 < all, "{few} of {all}");
            }
        }
    }
}
