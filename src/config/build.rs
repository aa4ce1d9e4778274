//! From given values to a checked configuration: defaults are filled in here, rules are applied here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dunlin_node::node::SandboxSettings;
use dunlin_node::sandbox::ResolvedLimits;
use dunlin_node::task::{GroupName, Level, MAX_KEPT_OUTPUT};

use super::{Config, ConfigError, Given, Pod, Secret, Surroundings, Value};
use crate::quantity::{parse_duration, parse_size};

/// The swarm's usual port.
const PORT: u16 = 7440;

/// The most slots of a pod.
const MAX_SLOTS: u32 = 4096;

struct Builder<'a> {
    given: &'a mut BTreeMap<&'static str, Given>,
}

impl Builder<'_> {
    /// Takes a value, or the default, through a rule; the rule's words are told with the place.
    fn take<T>(
        &mut self,
        key: &'static str,
        default: Value,
        rule: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let given = self.given.entry(key).or_insert_with(|| Given { value: default, place: "default".to_owned() });
        rule(&given.value).map_err(|why| ConfigError::BadValue { place: given.place.clone(), key: key.to_owned(), why })
    }

    /// As `take`, for what has no default.
    fn option<T>(&self, key: &'static str, rule: impl Fn(&Value) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        let checked = self.given.get(key).map(|given| {
            rule(&given.value).map_err(|why| ConfigError::BadValue { place: given.place.clone(), key: key.to_owned(), why })
        });
        checked.transpose()
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Fills `given` up with the defaults that were used.
pub(super) fn build(given: &mut BTreeMap<&'static str, Given>, around: &Surroundings) -> Result<Config, ConfigError> {
    let mut b = Builder { given };
    let data = b.take("data", text(around.data().display().to_string()), path)?;
    let socket = b.take("socket", text(data.join("dunlin.sock").display().to_string()), socket)?;
    Ok(Config {
        name: b.take("name", text(around.host.as_str()), name)?,
        listen: b.take("listen", text(format!("0.0.0.0:{PORT}")), listen)?,
        peers: b.take("peers", Value::List(Vec::new()), peers)?,
        secret: b.option("secret", |value| as_text(value).and_then(Secret::checked))?,
        secret_file: b.option("secret_file", path)?,
        expect: b.take("expect", Value::Number(1), |value| whole(value, 0, 64))?,
        rank: b.take("rank", Value::Number(100), |value| whole(value, 0, 1000))?,
        mdns: b.take("mdns", Value::Bool(true), as_bool)?,
        log: b.take("log", text("info"), log)?,
        limits: limits(&mut b)?,
        sandbox: sandbox(&mut b)?,
        pods: b.take("pods", Value::List(vec![format!("default={}", around.cores)]), |value| pods(value, around.cores))?,
        data,
        socket,
    })
}

fn limits(b: &mut Builder<'_>) -> Result<ResolvedLimits, ConfigError> {
    let kept = |value: &Value| {
        let size = as_text(value).and_then(parse_size)?;
        u32::try_from(size)
            .ok()
            .filter(|size| *size <= MAX_KEPT_OUTPUT)
            .ok_or_else(|| "a report carries at most 512KiB".to_owned())
    };
    let count = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is neither a whole number nor \"none\""));
    Ok(ResolvedLimits {
        wall: b.take("tasks.timeout", text("1h"), |value| unless_none(value, positive_duration))?,
        grace: b.take("tasks.grace", text("2s"), |value| as_text(value).and_then(parse_duration))?,
        stdout: b.take("tasks.stdout", text("256KiB"), kept)?,
        stderr: b.take("tasks.stderr", text("256KiB"), kept)?,
        memory: b.take("tasks.memory", text("none"), |value| unless_none(value, parse_size))?,
        processes: b.take("tasks.processes", text("none"), |value| unless_none(value, count))?,
        scratch: b.take("tasks.scratch", text("none"), |value| unless_none(value, positive_size))?,
        output: b.take("tasks.output", text("none"), |value| unless_none(value, positive_size))?,
        open_files: b.take("tasks.open_files", Value::Number(1024), |value| whole(value, 16, 1 << 20))?,
        ..ResolvedLimits::default()
    })
}

fn sandbox(b: &mut Builder<'_>) -> Result<SandboxSettings, ConfigError> {
    let level = |value: &Value| as_text(value)?.parse::<Level>().map_err(|error| error.to_string());
    Ok(SandboxSettings {
        require: b.take("sandbox.require", text("process-only"), level)?,
        at_most: b.take("sandbox.level", text("full"), level).map(Some)?,
        read: b.take("sandbox.read", Value::List(Vec::new()), absolute)?,
        hide: b.take("sandbox.hide", Value::List(Vec::new()), absolute)?,
        cgroups: b.take("sandbox.cgroups", Value::Bool(false), as_bool)?,
    })
}

fn absolute(value: &Value) -> Result<Vec<PathBuf>, String> {
    let Value::List(list) = value else { return Err(format!("{value} is not a list of paths")) };
    let one = |text: &String| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
    };
    list.iter().map(one).collect()
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing; \"none\" is no limit".to_owned()),
        duration => Ok(duration),
    }
}

fn positive_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("it must be more than nothing; \"none\" is no limit".to_owned()),
        size => Ok(size),
    }
}

fn unless_none<T>(value: &Value, rule: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match as_text(value)? {
        "none" => Ok(None),
        text => rule(text).map(Some),
    }
}

fn as_text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("{other} is not a text")),
    }
}

fn as_bool(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("{other} is neither true nor false")),
    }
}

fn whole(value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let outside = || format!("{value} is not a whole number from {least} to {most}");
    let Value::Number(number) = value else { return Err(outside()) };
    u32::try_from(*number).ok().filter(|number| (least..=most).contains(number)).ok_or_else(outside)
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match as_text(value)? {
        "" => Err("it is empty; give a path".to_owned()),
        text => Ok(std::path::absolute(text).map_err(|error| error.to_string())?),
    }
}

fn socket(value: &Value) -> Result<PathBuf, String> {
    let path = path(value)?;
    let (length, most) = (path.as_os_str().len(), crate::http::MAX_SOCKET_PATH);
    if length > most {
        return Err(format!(
            "the socket's path is {length} bytes long and the operating system takes {most}; set `socket` to a shorter one"
        ));
    }
    Ok(path)
}

fn name(value: &Value) -> Result<String, String> {
    let text = as_text(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err(format!("{text:?} must be 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.'"));
    }
    Ok(text.to_owned())
}

fn listen(value: &Value) -> Result<SocketAddr, String> {
    let text = as_text(value)?;
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    text.parse().map_err(|_| format!("{text:?} is not an address and a port, such as 0.0.0.0:{PORT} or [::]:{PORT}"))
}

fn peers(value: &Value) -> Result<Vec<String>, String> {
    let Value::List(list) = value else { return Err(format!("{value} is not a list")) };
    list.iter().map(|text| peer(text)).collect()
}

/// A host with a port: the usual port is added where none is given.
fn peer(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not a host and a port, such as node1.example:{PORT} or 192.168.1.5");
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT).to_string());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(wrong()) } else { Ok(address.to_string()) };
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
        None => (text, PORT),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if host.is_empty() || host.len() > 253 || port == 0 || !host.chars().all(plain) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn log(value: &Value) -> Result<String, String> {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    let text = as_text(value)?;
    // A bare word would be taken for a module's name, so that `log = "verbose"` would silently log nothing.
    let odd = text.split(',').find(|part| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err());
    if let Some(odd) = odd {
        return Err(format!("{odd:?} is none of error, warn, info, debug, trace and off, nor module=level"));
    }
    text.parse::<Targets>().map_err(|error| format!("{text:?}: {error}"))?;
    Ok(text.to_owned())
}

fn pods(value: &Value, cores: u32) -> Result<Vec<Pod>, String> {
    let Value::List(list) = value else { return Err(format!("{value} is not a list of pods")) };
    let pods: Vec<Pod> = list.iter().map(|text| pod(text, cores)).collect::<Result<_, _>>()?;
    if pods.is_empty() || pods.len() > 64 {
        return Err(format!("a node has 1 to 64 pods, not {}", pods.len()));
    }
    Ok(pods)
}

/// A pod in its short form: `gpu,default=2`; without a number it has a slot for each core.
fn pod(text: &str, cores: u32) -> Result<Pod, String> {
    let (groups, slots) = match text.split_once('=') {
        Some((groups, slots)) => {
            (groups, slots.trim().parse::<u32>().map_err(|_| format!("{slots:?} is not a number of slots"))?)
        }
        None => (text, cores),
    };
    if slots == 0 || slots > MAX_SLOTS {
        return Err(format!("{slots} slots; a pod has 1 to {MAX_SLOTS}"));
    }
    let groups: Result<Vec<GroupName>, _> = groups.split(',').map(|name| name.trim().parse::<GroupName>()).collect();
    Ok(Pod { groups: groups.map_err(|error| error.to_string())?, slots })
}

/// A pod's short form as it was written, if it can be read.
pub(crate) fn checked_pod(text: &str) -> Result<String, String> {
    pod(text, 1).map(|_| text.to_owned())
}

/// A peer with its port, if it can be read.
pub(crate) fn checked_peer(text: &str) -> Result<String, String> {
    peer(text)
}
