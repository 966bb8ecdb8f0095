//! Rows from JSON objects. The decoder reads only the declared fields, and does not allocate per row.

use std::fmt;

use arrow::datatypes::SchemaRef;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::formats::json::{TimeField, line};
use crate::{Content, DecodeError, Decoded, Decoder, DecoderMemory, Row, Split, Value};

/// The most remembered keys of an object.
const MAX_KEYS: usize = 64;

/// Reads objects, one per line or several in a message. Its cache does not affect the rows.
#[derive(Debug)]
pub(crate) struct RowDecoder {
    names: Vec<String>,
    /// The keys of the latest objects in order, each with its field. The next object probably has the same
    /// keys.
    keys: Vec<(String, Option<usize>)>,
    time: usize,
    time_ns: i64,
    values: Vec<Value>,
    text: String,
}

impl RowDecoder {
    pub(crate) fn new(schema: &SchemaRef, time: &TimeField) -> Self {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
        Self {
            time: names.iter().position(|name| *name == time.field).unwrap_or(usize::MAX),
            time_ns: time.unit.as_ns(),
            values: vec![Value::Null; names.len()],
            text: String::new(),
            keys: Vec::new(),
            names,
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<i64, DecodeError> {
        self.values.fill(Value::Null);
        self.text.clear();
        // Checks the line once, instead of each text in it.
        let line = str::from_utf8(line).map_err(|_| DecodeError::Json)?;
        let mut json = serde_json::Deserializer::from_str(line);
        let Self { names, keys, values, text, .. } = self;
        let object = Object { names, keys, values, text };
        let read = json.deserialize_map(object).and_then(|()| json.end());
        read.map_err(|_| DecodeError::Json)?;
        match self.values.get(self.time) {
            Some(Value::Int(time)) => Ok(time.saturating_mul(self.time_ns)),
            Some(Value::Float(time)) => Ok((time * self.time_ns as f64) as i64),
            _ => Err(DecodeError::NoTime),
        }
    }
}

impl Decoder for RowDecoder {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        Split::line(bytes, complete)
    }

    fn decode<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a> {
        let Some((line, used)) = line(bytes, complete) else { return Decoded::NeedsMore };
        if line.trim_ascii().is_empty() {
            return Decoded::Record(used, Content::Nothing);
        }
        match self.read(line) {
            Ok(time_ns) => {
                let row = Row { values: &self.values, text: &self.text };
                Decoded::Record(used, Content::Row(time_ns, row))
            }
            Err(error) => Decoded::Bad(used, error),
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory::default()
    }

    fn recall(&mut self, _: DecoderMemory) {}
}

/// Reads the declared fields of an object.
struct Object<'a> {
    names: &'a [String],
    keys: &'a mut Vec<(String, Option<usize>)>,
    values: &'a mut [Value],
    text: &'a mut String,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        for nth in 0.. {
            let name = Name { names: self.names, keys: self.keys, nth };
            let Some(column) = map.next_key_seed(name)? else { break };
            match column {
                Some(column) => self.values[column] = map.next_value_seed(Scalar(self.text))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds a field among the declared ones.
struct Name<'a> {
    names: &'a [String],
    keys: &'a mut Vec<(String, Option<usize>)>,
    nth: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Option<usize>, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        if let Some((_, column)) = self.keys.get(self.nth).filter(|(key, _)| key == name) {
            return Ok(*column);
        }
        let column = self.names.iter().position(|declared| declared == name);
        match self.keys.get_mut(self.nth) {
            Some((key, of_key)) => {
                name.clone_into(key);
                *of_key = column;
            }
            None if self.nth < MAX_KEYS => self.keys.push((name.to_owned(), column)),
            None => {}
        }
        Ok(column)
    }
}

/// Reads a value that fits a column; other values become null.
struct Scalar<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        let start = self.0.len();
        self.0.push_str(value);
        Ok(Value::Text(start, self.0.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
    use schemas::{Record, SourceKind};
    use std::sync::Arc;

    use super::*;
    use crate::formats::json::TimeUnit;
    use crate::partitions::rows::Table;
    use crate::{Collector, LinkNames, SourceContext, Step};

    #[test]
    fn declared_fields_are_taken_and_others_passed_over() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("at", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("x", DataType::Float64, true),
        ]));
        let time = TimeField { field: "at".into(), unit: TimeUnit::Ms };
        let mut decoder = RowDecoder::new(&schema, &time);
        let table = Table { stream: "s".into(), partition: String::new(), schema };
        let context = SourceContext::detached("test");
        let collector = Collector::new(LinkNames::default(), SourceKind::Live, &context);
        let mut collector = collector.with_rows(table);
        let text = "{\"at\":1,\"name\":\"a\\u00e9\\n\",\"x\":2,\"more\":{\"at\":[5]}}\n\n\
                    {\"x\":[1],\"name\":7,\"at\":2.5}\n\
                    {\"at\":\"3\"}\n{\"at\":4\n{\"at\":3,\"x\":-0.5}";
        let (mut bytes, mut bad) = (text.as_bytes(), Vec::new());
        while !bytes.is_empty() {
            let used = match collector.decode(&mut decoder, bytes, true) {
                Step::Used(used) => used,
                Step::Bad(used, error) => {
                    bad.push(error);
                    used
                }
                Step::NeedsMore | Step::NeedsSchema(_) => panic!("it is all there"),
            };
            bytes = &bytes[used..];
        }
        assert_eq!(bad, [DecodeError::NoTime, DecodeError::Json]);
        let poll = collector.drain();
        let [(0, Record::Rows(rows))] = &poll.records[..] else { panic!("one tick") };
        assert_eq!(rows.times_ns, [1_000_000, 2_500_000, 3_000_000]);
        let column = |name: &str| rows.batch.column_by_name(name).expect("it is declared");
        let at: Vec<_> = column("at").as_primitive::<Int64Type>().iter().collect();
        assert_eq!(at, [Some(1), None, Some(3)], "2.5 is no whole number");
        let x: Vec<_> = column("x").as_primitive::<Float64Type>().iter().collect();
        assert_eq!(x, [Some(2.0), None, Some(-0.5)]);
        let names: Vec<_> = column("name").as_string::<i32>().iter().collect();
        assert_eq!(names, [Some("aé\n"), None, None]);
    }
}
