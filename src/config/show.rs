//! The commented file that `config init` writes, and the effective values that `config show` prints.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::keys::{KEYS, Kind};
use super::{Loaded, Value};

/// A file with every setting, each line commented out.
pub(crate) fn template() -> String {
    let mut text = String::from(
        "# dunlin.toml: settings of one node. Every line is commented out and shows the default.\n\
         # A flag of `dunlin up` wins over an environment variable (DUNLIN_LISTEN for listen), which wins over this file.\n",
    );
    let mut table = "";
    for key in KEYS {
        text.push('\n');
        let name = match key.name.split_once('.') {
            Some((of, name)) => {
                if of != table {
                    table = of;
                    // A table's header changes the meaning of the lines below it, so the one line without a default.
                    let _ = writeln!(text, "# [{of}]");
                }
                name
            }
            None => key.name,
        };
        for line in key.doc {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match key.kind {
            Kind::Pods => writeln!(text, "# {}", key.example),
            _ => writeln!(text, "# {name} = {}", key.example),
        };
    }
    text
}

/// The effective value of each setting and where it came from: as text, or as JSON. Secrets are not shown.
pub(crate) fn shown(loaded: &Loaded) -> (String, Json) {
    let (mut text, mut object) = (String::new(), Map::new());
    for key in KEYS {
        let Some(given) = loaded.given.get(key.name) else { continue };
        let value = if key.name == "secret" { Value::Text("(set, not shown)".to_owned()) } else { given.value.clone() };
        let line = format!("{} = {value}", key.name);
        let _ = writeln!(text, "{line:<58} # {}", given.place);
        let value = match value {
            Value::Text(text) => json!(text),
            Value::Number(number) => json!(number),
            Value::Bool(value) => json!(value),
            Value::List(list) => json!(list),
        };
        object.insert(key.name.to_owned(), json!({ "value": value, "source": given.place }));
    }
    (text, Json::Object(object))
}
