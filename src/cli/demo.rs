//! placeholder
use super::Global;
use crate::exit::Failure;
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct DemoArgs {}
pub(super) async fn demo(_: Global, _: DemoArgs) -> Result<u8, Failure> {
    Ok(0)
}
