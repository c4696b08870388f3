//! `tersor net fold`.

use super::{check_output, open_weights, save};
use crate::Status;
use crate::args::net::FoldArgs;
use anyhow::bail;

pub(crate) fn run(args: &FoldArgs) -> anyhow::Result<Status> {
    let args = &args.rewrite;
    check_output(&args.output)?;
    let network = tersor_nets::task::network(&args.net)?;
    let mut parameters = open_weights(&network, &args.weights)?;
    if tersor_nets::fold(&network, &mut parameters)? == 0 {
        bail!("{} has no batch-norm to fold", network.name);
    }
    save(&parameters, &args.output)?;
    Ok(Status::Done)
}
