//! `doctor`: what this machine holds against the tasks that it runs, found by trying, and what its owner can do about the rest.
//!
//! It needs no node: it starts a sandbox of its own in an empty folder, asks it, and leaves nothing behind.

use std::path::PathBuf;

use clap::Args;
use dunlin_node::sandbox::{Isolation, Launch, Sandbox, SandboxConfig};
use dunlin_node::task::{Findings, Network};

use super::Global;
use super::context::print;
use crate::config::Config;
use crate::exit::{Failure, code};

const EXAMPLES: &str = "Examples:
  dunlin doctor
  dunlin doctor --plan                what happens before a task's first instruction, step by step
  dunlin doctor -o json | jq .missing

Ends with 1 if the machine holds less than `sandbox.require` asks for.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Also the steps by which a task is started here
    #[arg(long)]
    plan: bool,
    /// The network of the task whose steps are shown
    #[arg(long, value_name = "none|host|isolated", default_value_t, requires = "plan")]
    network: Network,
}

/// What the doctor has to say.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Findings,
    /// The settings ask for more.
    pub(crate) too_weak: bool,
    /// The settings allow less than the machine holds, or ask for something.
    pub(crate) settings: Vec<String>,
    /// The steps of a launch, if they were asked for.
    pub(crate) plan: Option<String>,
}

pub(super) async fn doctor(global: Global, args: DoctorArgs) -> Result<u8, Failure> {
    let config = global.load(Vec::new())?.config;
    let folder = Scratch::make()?;
    let diagnosis = diagnose(&config, &folder, &args)?;
    print(&global.format().renderer().diagnosis(&diagnosis))?;
    Ok(if diagnosis.too_weak { code::ERROR } else { code::OK })
}

fn diagnose(config: &Config, folder: &Scratch, args: &DoctorArgs) -> Result<Diagnosis, Failure> {
    let settings = &config.sandbox;
    let sandbox = Sandbox::start(SandboxConfig {
        at_most: settings.at_most.unwrap_or(dunlin_node::task::Level::Full),
        hidden: std::iter::once(&config.data).chain(&settings.hide).cloned().collect(),
        readable: settings.read.clone(),
        // A node takes its cgroup over; this command shares one with a shell.
        cgroups: false,
        ..SandboxConfig::new(folder.0.join("scratch"))
    })
    .map_err(|error| {
        let failure = Failure::error("the sandbox can't be tried out").why(error.to_string());
        match std::error::Error::source(&error) {
            Some(source) => failure.next(source.to_string()),
            None => failure,
        }
    })?;
    let findings = sandbox.findings().clone();
    let mut said = Vec::new();
    if let Some(at_most) = settings.at_most.filter(|at_most| *at_most < dunlin_node::task::Level::Full) {
        said.push(format!("`sandbox.level` allows {at_most} and no more"));
    }
    let plan = args.plan.then(|| steps(&sandbox, folder, args.network)).transpose()?;
    Ok(Diagnosis { too_weak: findings.level < settings.require, findings, settings: said, plan })
}

fn steps(sandbox: &Sandbox, folder: &Scratch, network: Network) -> Result<String, Failure> {
    let launch = Launch {
        name: "1-1".to_owned(),
        argv: vec!["true".to_owned()],
        env: std::collections::BTreeMap::new(),
        scratch: folder.0.join("scratch").join("1-1"),
        limits: dunlin_node::sandbox::ResolvedLimits::default(),
        isolation: Isolation { network, ..Isolation::default() },
    };
    let plan =
        sandbox.plan(&launch).map_err(|refused| Failure::error("such a task would not be started").why(refused.to_string()))?;
    Ok(plan.to_string())
}

/// A folder of this command's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("dunlin-doctor-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| {
            Failure::error(format!("{} can't be made", path.display()))
                .why(error.to_string())
                .next("set TMPDIR to a folder that you may write in")
        })?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind only if somebody has put something in.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
