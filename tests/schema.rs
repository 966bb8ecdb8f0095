//! Generated documents are what the program would generate now; `UPDATE_GOLDEN=1` renews them.

use std::fs;
use std::path::Path;

pub(crate) fn documents_are_current() {
    let openapi = serde_json::to_value(api::openapi()).expect("OpenAPI is JSON");
    for (name, document) in
        [("pipeline.schema.json", engine::json_schema()), ("openapi.json", openapi)]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        let text = format!("{document:#}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).expect("docs can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "docs/{name} is stale: run with UPDATE_GOLDEN=1");
    }
}
