//! Values as they were given, by place: a file, the environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::keys::{self, KEYS, Key, Kind};
use super::{ConfigError, Surroundings};

/// The largest configuration file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A value before its rules are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Number(number) => number.fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::List(list) => write!(f, "{list:?}"),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: Value,
    /// `default`, `--listen`, `DUNLIN_LISTEN`, `/etc/dunlin/dunlin.toml:12`.
    pub(crate) place: String,
}

impl Given {
    pub(crate) fn flag(flag: &str, value: Value) -> Self {
        Given { value, place: flag.to_owned() }
    }
}

/// Reads `DUNLIN_*`; lists are separated by commas (pods by semicolons, their groups by commas: `gpu,default=2;slow=1`).
pub(super) fn from_environment(around: &Surroundings) -> Result<BTreeMap<&'static str, Given>, ConfigError> {
    let mut given = BTreeMap::new();
    for key in KEYS {
        let place = key.variable();
        if let Some(text) = around.variable(&place) {
            let value = from_text(key, text).map_err(|why| bad(&place, key, why))?;
            given.insert(key.name, Given { value, place });
        }
    }
    Ok(given)
}

fn bad(place: &str, key: &Key, why: impl Into<String>) -> ConfigError {
    ConfigError::BadValue { place: place.to_owned(), key: key.name.to_owned(), why: why.into() }
}

fn from_text(key: &Key, text: &str) -> Result<Value, String> {
    let split = |by| text.split(by).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match key.kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Number => text.parse().map(Value::Number).map_err(|_| format!("{text:?} is not a whole number")),
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        Kind::List => Ok(Value::List(split(','))),
        Kind::Pods => Ok(Value::List(split(';'))),
    }
}

/// The text of a file, if it is not too large for one.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |why: String| ConfigError::Read { path: path.display().to_string(), why };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(failed(format!("it is {size} bytes; the limit is {MAX_FILE}")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// Reads a file's text; every mistake is told with its line.
pub(super) fn from_text_of(path: &Path, text: &str) -> Result<BTreeMap<&'static str, Given>, ConfigError> {
    let reader = Reader { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: reader.place(error.span().unwrap_or_default()),
        why: error.message().to_owned(),
    })?;
    let mut given = BTreeMap::new();
    reader.table(table.get_ref(), "", &mut given)?;
    Ok(given)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        format!("{}:{}", self.path.display(), before.matches('\n').count() + 1)
    }

    fn table(&self, table: &DeTable<'_>, prefix: &str, given: &mut BTreeMap<&'static str, Given>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let place = self.place(name.span());
            if let Some(key) = keys::find(&full) {
                let value = self.value(key, value)?;
                given.insert(key.name, Given { value, place });
                continue;
            }
            let inner = format!("{full}.");
            match value.get_ref() {
                DeValue::Table(table) if KEYS.iter().any(|key| key.name.starts_with(&inner)) => {
                    self.table(table, &inner, given)?
                }
                _ => return Err(unknown(place, full)),
            }
        }
        Ok(())
    }

    fn value(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, ConfigError> {
        let wrong = |wanted: &str| {
            let found = value.get_ref().type_str();
            bad(&self.place(value.span()), key, format!("it must be {wanted}, not a value of type {found}"))
        };
        match (key.kind, value.get_ref()) {
            (Kind::Text, DeValue::String(text)) => Ok(Value::Text(text.to_string())),
            // A number is taken for a text where one is natural (`tasks.memory = 1048576`).
            (Kind::Text, DeValue::Integer(number)) if key.name.starts_with("tasks.") => {
                Ok(Value::Text(number.as_str().to_owned()))
            }
            (Kind::Number, DeValue::Integer(number)) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                parsed.map(Value::Number).map_err(|_| wrong("a whole number"))
            }
            (Kind::Bool, DeValue::Boolean(value)) => Ok(Value::Bool(*value)),
            (Kind::List, DeValue::Array(array)) => Ok(Value::List(texts(array).ok_or_else(|| wrong("a list of texts"))?)),
            (Kind::Pods, DeValue::Array(array)) => {
                array.iter().map(|pod| self.pod(key, pod)).collect::<Result<_, _>>().map(Value::List)
            }
            (Kind::Text, _) => Err(wrong("a text in quotes")),
            (Kind::Number, _) => Err(wrong("a whole number")),
            (Kind::Bool, _) => Err(wrong("true or false")),
            (Kind::List, _) => Err(wrong("a list of texts")),
            (Kind::Pods, _) => Err(wrong("tables, each beginning with [[pods]]")),
        }
    }

    /// A pod in the short form that flags and variables use: `gpu,default=2`.
    fn pod(&self, key: &Key, pod: &Spanned<DeValue<'_>>) -> Result<String, ConfigError> {
        let place = self.place(pod.span());
        let table = pod.get_ref().as_table().ok_or_else(|| bad(&place, key, "each pod is a table"))?;
        let (mut groups, mut slots) = (vec!["default".to_owned()], None);
        for (name, value) in table {
            let place = self.place(name.span());
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("groups", DeValue::Array(array)) => {
                    groups = texts(array).ok_or_else(|| bad(&place, key, "`groups` must be a list of texts"))?;
                }
                ("groups", _) => return Err(bad(&place, key, "`groups` must be a list of texts")),
                ("slots", DeValue::Integer(number)) => slots = Some(number.as_str().to_owned()),
                ("slots", _) => return Err(bad(&place, key, "`slots` must be a whole number")),
                (other, _) => {
                    let nearest = keys::nearest(other, ["groups", "slots"].into_iter()).map(|name| format!("pods.{name}"));
                    return Err(ConfigError::UnknownKey { place, key: format!("pods.{other}"), nearest });
                }
            }
        }
        Ok(slots.map_or_else(|| groups.join(","), |slots| format!("{}={slots}", groups.join(","))))
    }
}

fn texts(array: &DeArray<'_>) -> Option<Vec<String>> {
    array.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

fn unknown(place: String, key: String) -> ConfigError {
    let nearest = keys::nearest(&key, KEYS.iter().map(|key| key.name)).map(str::to_owned);
    ConfigError::UnknownKey { place, key, nearest }
}
