//! Precedence, mistakes and where they are told, secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut variables: BTreeMap<_, _> = variables.iter().map(own).collect();
    variables.entry("HOME".to_owned()).or_insert_with(|| "/nowhere/home".to_owned());
    Surroundings { variables, is_root: false, host: "host-1".to_owned(), cores: 4 }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn told(text: &str) -> String {
    let (folder, path) = file(text);
    let error = load(Vec::new(), Some(path), &around(&[])).unwrap_err().to_string();
    error.replace(&folder.path().display().to_string(), "")
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let (_folder, path) = file("listen = \"1.1.1.1:1\"\nrank = 1\nname = \"from-file\"\n");
    let around = around(&[("DUNLIN_LISTEN", "2.2.2.2:2"), ("DUNLIN_RANK", "2"), ("DUNLIN_PEERS", "a, b:1")]);
    let flags = vec![("listen", Given::flag("--listen", Value::Text("3.3.3.3:3".to_owned())))];
    let loaded = load(flags, Some(path), &around).unwrap();
    let config = &loaded.config;
    assert_eq!(config.listen.to_string(), "3.3.3.3:3");
    assert_eq!(config.rank, 2);
    assert_eq!(config.name, "from-file");
    assert_eq!(config.expect, 1);
    assert_eq!(config.peers, ["a:7440", "b:1"]);
    assert_eq!(config.data, Path::new("/nowhere/home/.local/share/dunlin"));
    assert_eq!(config.socket, Path::new("/nowhere/home/.local/share/dunlin/dunlin.sock"));
    let place = |key| loaded.given[key].place.clone();
    assert_eq!((place("listen"), place("rank"), place("expect")), ("--listen".into(), "DUNLIN_RANK".into(), "default".into()));
    assert!(place("name").ends_with("dunlin.toml:3"));
}

#[test]
fn unknown_keys_are_told_with_line_and_nearest_name() {
    assert_eq!(told("\n\nlisen = \"x\"\n"), "/dunlin.toml:3: there is no setting \"lisen\"; did you mean \"listen\"?");
    assert_eq!(
        told("[tasks]\ntimeuot = \"1h\"\n"),
        "/dunlin.toml:2: there is no setting \"tasks.timeuot\"; did you mean \"tasks.timeout\"?"
    );
    assert_eq!(
        told("secret-file = \"x\"\n"),
        "/dunlin.toml:1: there is no setting \"secret-file\"; did you mean \"secret_file\"?"
    );
    assert_eq!(told("frobnicate = 1\n"), "/dunlin.toml:1: there is no setting \"frobnicate\"");
    assert_eq!(told("[[pods]]\nslot = 1\n"), "/dunlin.toml:2: there is no setting \"pods.slot\"; did you mean \"pods.slots\"?");
}

#[test]
fn bad_values_are_told_with_their_rule() {
    assert!(told("rank = \"high\"\n").contains("rank: it must be a whole number, not a value of type string"));
    assert!(told("rank = 5000\n").contains("5000 is not a whole number from 0 to 1000"));
    assert!(told("expect = 65\n").contains("65 is not a whole number from 0 to 64"));
    assert!(told("listen = \"nowhere\"\n").contains("is not an address and a port"));
    assert!(told("peers = [\"a:b\"]\n").contains("is not a host and a port"));
    assert!(told("peers = \"a\"\n").contains("it must be a list of texts"));
    assert!(told("name = \"a b\"\n").contains("must be 1 to 64"));
    assert!(told("mdns = 1\n").contains("true or false"));
    assert!(told("[tasks]\ntimeout = \"soon\"\n").contains("is not a duration"));
    assert!(told("[tasks]\ntimeout = 0\n").contains("longer than nothing"));
    assert!(told("[tasks]\nstdout = \"1GiB\"\n").contains("at most 512KiB"));
    assert!(told("[sandbox]\nrequire = \"total\"\n").contains("it is one of process-only, partial, full"));
    assert!(told("[sandbox]\nread = [\"data\"]\n").contains("\"data\" is not an absolute path"));
    assert!(told("[[pods]]\ngroups = [\"Big\"]\n").contains("group name"));
    assert!(told("[[pods]]\nslots = 0\n").contains("a pod has 1 to"));
    assert!(told("log = \"verbose\"\n").contains("log: \"verbose\" is none of error"));
    assert!(told("log = \"dunlin=loud\"\n").contains("log: "));
    assert!(told("a = \n").starts_with("/dunlin.toml:1: "));
    assert!(told("secret = \"short\"\n").ends_with("a secret has 16 to 1024 characters, not 5"));
    let long = format!("data = \"/{}\"\n", "x".repeat(120));
    assert!(told(&long).contains("set `socket` to a shorter one"));
}

#[test]
fn a_variables_mistake_names_the_variable() {
    let error = load(Vec::new(), None, &around(&[("DUNLIN_EXPECT", "five")])).unwrap_err();
    assert_eq!(error.to_string(), "DUNLIN_EXPECT: \"five\" is not a whole number");
    let missing = load(Vec::new(), Some("/nowhere/x.toml".into()), &around(&[])).unwrap_err();
    assert!(missing.to_string().starts_with("could not read /nowhere/x.toml"));
}

#[test]
fn pods_read_the_same_from_file_and_variable() {
    let (_folder, path) = file("[[pods]]\ngroups = [\"gpu\", \"default\"]\nslots = 2\n[[pods]]\ngroups = [\"slow\"]\n");
    let from_file = load(Vec::new(), Some(path), &around(&[])).unwrap().config.pods;
    let from_variable = load(Vec::new(), None, &around(&[("DUNLIN_PODS", "gpu,default=2;slow")])).unwrap().config.pods;
    assert_eq!(from_file, from_variable);
    assert_eq!(from_file[1].slots, 4, "without a number there is a slot for each core");
}

#[test]
fn the_template_is_valid_as_it_stands_and_with_every_line_uncommented() {
    let (_folder, path) = file(&template());
    let loaded = load_file_alone(&path, &around(&[])).unwrap();
    assert!(loaded.given.values().all(|given| given.place == "default"));
    assert!(template().lines().all(|line| line.is_empty() || line.starts_with('#')));

    let is_setting = |line: &&str| line.contains(" = ") && !line.contains(": ") || line.starts_with('[');
    let template = template();
    let uncommented = template.lines().map(|line| line.trim_start_matches("# ")).filter(is_setting);
    let text: Vec<_> = uncommented.filter(|line| !line.starts_with("secret = ") && !line.contains('(')).collect();
    let (_folder, path) = file(&text.join("\n"));
    let loaded = load_file_alone(&path, &around(&[])).unwrap();
    assert_eq!(loaded.config.limits.wall, Some(Duration::from_secs(3600)));
    assert_eq!(loaded.config.pods[0].slots, 4);
}

#[test]
fn shown_values_carry_their_place_and_no_secret() {
    let around = around(&[("DUNLIN_SECRET", "correct horse battery staple")]);
    let loaded = load(Vec::new(), None, &around).unwrap();
    let (text, json) = shown(&loaded);
    assert!(text.contains("# DUNLIN_SECRET") && text.contains("# default"), "{text}");
    let everything = format!("{text}{json}{:?}", loaded.config);
    assert!(!everything.contains("horse"), "{everything}");
    assert_eq!(json["listen"]["value"], "0.0.0.0:7440");
}

#[test]
fn a_swarm_of_one_makes_its_secret_once_and_others_must_be_given_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let config = |more: &[(&str, &str)]| {
        let mut all = vec![("DUNLIN_DATA", data.as_str())];
        all.extend(more);
        load(Vec::new(), None, &around(&all)).unwrap().config
    };
    assert!(matches!(config(&[("DUNLIN_EXPECT", "3")]).secret_or_new(), Err(SecretError::Missing)));
    assert!(matches!(config(&[("DUNLIN_PEERS", "a")]).secret_or_new(), Err(SecretError::Missing)));
    assert!(matches!(config(&[]).existing_secret(), Err(SecretError::NotMade(_))));

    let (secret, from) = config(&[]).secret_or_new().unwrap();
    let path = folder.path().join("secret");
    assert_eq!(from, SecretFrom::Made(path.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (again, from) = config(&[("DUNLIN_PEERS", "a")]).secret_or_new().unwrap();
    assert_eq!((again, from), (secret, SecretFrom::File(path.clone())));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(config(&[]).secret_or_new(), Err(SecretError::Open { mode: 0o644, .. })));
    let named = config(&[("DUNLIN_SECRET_FILE", "/nowhere/secret")]).secret_or_new();
    assert!(matches!(named, Err(SecretError::Io { act: "open", .. })));
}
