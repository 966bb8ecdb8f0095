//! Columns as a Protobuf message, and records as encoded messages.
//!
//! A field has the column's name, and the column's position as its number. Lists are repeated fields,
//! structures are nested messages, and nullable columns are optional fields.
//!
//! Source: Protocol Buffers language guide (proto3), JSON mapping.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, OneofDescriptorProto,
};
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor,
};

const PACKAGE: &str = "dev.fresnel";

/// The message type of a table.
pub(super) struct MessageType {
    descriptor: MessageDescriptor,
    /// The text of its `.proto` file.
    pub(super) text: String,
}

impl MessageType {
    /// Returns the message type of a table; none if Protobuf cannot represent a column.
    pub(super) fn of_table(name: &str, columns: &Fields) -> Option<Self> {
        let name = pascal_case(name);
        let message = message(&name, &format!(".{PACKAGE}"), columns)?;
        let mut text = format!("syntax = \"proto3\";\npackage {PACKAGE};\n\n");
        print(&message, 0, &mut text);
        let descriptor = descriptor(message, &name).ok()??;
        Some(Self { descriptor, text })
    }

    /// Encodes a record, which is a line of JSON.
    pub(super) fn encode(&self, line: &[u8]) -> serde_json::Result<Vec<u8>> {
        // The JSON also has the kind of the record, which is in the message's name.
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut json = serde_json::Deserializer::from_slice(line);
        let descriptor = self.descriptor.clone();
        let message = DynamicMessage::deserialize_with_options(descriptor, &mut json, &options)?;
        Ok(message.encode_to_vec())
    }
}

fn descriptor(
    message: DescriptorProto,
    name: &str,
) -> Result<Option<MessageDescriptor>, DescriptorError> {
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(FileDescriptorProto {
        name: Some("table.proto".to_owned()),
        package: Some(PACKAGE.to_owned()),
        message_type: vec![message],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    })?;
    Ok(pool.get_message_by_name(&format!("{PACKAGE}.{name}")))
}

/// Returns the message of columns within a scope; none if Protobuf cannot represent a column.
fn message(name: &str, scope: &str, columns: &Fields) -> Option<DescriptorProto> {
    let mut message = DescriptorProto { name: Some(name.to_owned()), ..DescriptorProto::default() };
    for (column, number) in columns.iter().zip(1..) {
        add_field(&mut message, &format!("{scope}.{name}"), column, number)?;
    }
    Some(message)
}

fn add_field(
    message: &mut DescriptorProto,
    scope: &str,
    column: &Field,
    number: i32,
) -> Option<()> {
    let (repeated, data_type) = match column.data_type() {
        DataType::List(element) => (true, element.data_type()),
        other => (false, other),
    };
    let mut field = FieldDescriptorProto {
        name: Some(column.name().clone()),
        number: Some(number),
        ..FieldDescriptorProto::default()
    };
    field.set_label(if repeated { Label::Repeated } else { Label::Optional });
    if let DataType::Struct(columns) = data_type {
        let name = pascal_case(column.name());
        field.set_type(Type::Message);
        field.type_name = Some(format!("{scope}.{name}"));
        message.nested_type.push(self::message(&name, scope, columns)?);
    } else {
        field.set_type(scalar(data_type)?);
        if column.is_nullable() && !repeated {
            field.proto3_optional = Some(true);
            field.oneof_index = i32::try_from(message.oneof_decl.len()).ok();
            let name = Some(format!("_{}", column.name()));
            message.oneof_decl.push(OneofDescriptorProto { name, options: None });
        }
    }
    message.field.push(field);
    Some(())
}

fn scalar(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Boolean => Type::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Type::Int32,
        DataType::Int64 => Type::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Type::Uint32,
        DataType::UInt64 => Type::Uint64,
        DataType::Float32 => Type::Float,
        DataType::Float64 => Type::Double,
        DataType::Utf8 => Type::String,
        _ => return None,
    })
}

/// Writes a message as text of a `.proto` file.
fn print(message: &DescriptorProto, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{indent}message {} {{", message.name());
    for nested in &message.nested_type {
        print(nested, depth + 1, text);
    }
    for field in &message.field {
        let label = match field.label() {
            Label::Repeated => "repeated ",
            _ if field.proto3_optional() => "optional ",
            _ => "",
        };
        let (name, number) = (field.name(), field.number());
        let _ = writeln!(text, "{indent}  {label}{} {name} = {number};", type_name(field));
    }
    let _ = writeln!(text, "{indent}}}");
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message => field.type_name().rsplit('.').next().unwrap_or_default().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

/// Converts `zone_events` to `ZoneEvents`.
fn pascal_case(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use schemas::RecordKind;

    use super::*;

    #[test]
    fn every_table_is_a_message() {
        for kind in RecordKind::ALL {
            let columns = kind.arrow_schema();
            assert!(MessageType::of_table(kind.table(), columns.fields()).is_some(), "{kind}");
        }
        let columns = RecordKind::Occupancy.arrow_schema();
        let occupancy =
            MessageType::of_table("occupancy", columns.fields()).expect("it has a form");
        let expected = "syntax = \"proto3\";\npackage dev.fresnel;\n\nmessage Occupancy {\n  string site = 1;\n  \
                        string zone = 2;\n  int64 count = 3;\n  repeated string persons = 4;\n  \
                        int64 since_ns = 5;\n  string source_kind = 6;\n}\n";
        assert_eq!(occupancy.text, expected);
        let line = b"{\"record\":\"occupancy\",\"site\":\"a\",\"count\":2,\"persons\":[\"b\"],\"since_ns\":300}";
        let bytes = occupancy.encode(line).expect("its own");
        assert_eq!(bytes, b"\x0a\x01a\x18\x02\x22\x01b\x28\xac\x02");
        let too_large = b"{\"since_ns\":9223372036854775808}";
        occupancy.encode(too_large).expect_err("it has 64 bits with its sign");
    }
}
