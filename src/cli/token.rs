//! `token`: the line with which another machine joins. The shared secret is this version's join token.

use clap::Args;
use serde_json::json;

use super::Global;
use super::context::{Context, print};
use crate::config::{Config, SecretError, SecretFrom};
use crate::exit::{Failure, code};
use crate::render::Format;

#[derive(Debug, Args)]
#[command(after_help = "The swarm's shared secret is this version's join token. It is printed only with --show-secret;
better copy the file that holds it (scp keeps it out of your shell's history).")]
pub(super) struct TokenArgs {
    /// Print the secret too
    #[arg(long)]
    show_secret: bool,
}

pub(super) async fn token(global: Global, args: TokenArgs) -> Result<u8, Failure> {
    let config = global.load(Vec::new())?.config;
    let (secret, from) = config.existing_secret()?;
    let context = Context::of(&global)?;
    let address = address(&context, &config).await?;
    let shown = args.show_secret.then(|| secret.reveal());
    let text = match global.format() {
        Format::Json => {
            let file = if let SecretFrom::File(path) | SecretFrom::Made(path) = &from { Some(path) } else { None };
            format!("{}\n", json!({ "peer": address, "secret_file": file, "secret": shown }))
        }
        Format::Quiet => format!("{}\n", shown.unwrap_or(&address)),
        Format::Text => {
            let mut text = format!("{}\n", join_line(&address));
            text.push_str(&match (shown, &from) {
                (Some(secret), _) => format!("secret.txt holds this one line, mode 0600:\n{secret}\n"),
                (None, SecretFrom::File(path) | SecretFrom::Made(path)) => {
                    format!("secret.txt is a copy of {} of this machine (or see --show-secret)\n", path.display())
                }
                (None, SecretFrom::Setting) => {
                    "secret.txt holds the secret that this node was given as a setting (or see --show-secret)\n".to_owned()
                }
            });
            text
        }
    };
    print(&text)?;
    Ok(code::OK)
}

/// What to type on the other machine.
pub(super) fn join_line(address: &str) -> String {
    format!("dunlin up --peer {address} --secret-file secret.txt")
}

/// Where this node can be reached: as the swarm knows it, or as it was told to listen.
async fn address(context: &Context, config: &Config) -> Result<String, Failure> {
    let status = context.client.status().await?;
    let nodes = context.client.nodes().await?;
    let own = nodes.into_iter().find(|view| view.node == status.node).and_then(|view| view.address);
    Ok(own.unwrap_or_else(|| format!("{}:{}", config.name, config.listen.port())))
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        let what = error.to_string();
        match error {
            SecretError::Missing => Failure::usage(what)
                .why("nodes with different secrets never talk, so a fresh one would be of no use here")
                .next("--secret-file FILE or DUNLIN_SECRET with the swarm's secret; for a new swarm, the same one on each node"),
            SecretError::NotMade(_) => {
                Failure::error(what).next("start the node first (`dunlin up`), or name its data folder with --data DIR")
            }
            SecretError::Open { path, .. } => {
                Failure::new(code::NOT_AUTHORISED, what).next(format!("chmod 600 {}", path.display()))
            }
            SecretError::Bad { .. } | SecretError::Io { .. } => Failure::usage(what),
        }
    }
}
