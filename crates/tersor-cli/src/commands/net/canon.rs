//! `tersor net canon`.

use super::{check_output, open_weights, save};
use crate::args::Common;
use crate::args::net::CanonArgs;
use crate::{Status, output};
use tersor_nets::canon::canon;

pub(crate) fn run(args: &CanonArgs, common: &Common) -> anyhow::Result<Status> {
    let rewrite = &args.rewrite;
    check_output(&rewrite.output)?;
    let network = tersor_nets::task::network(&rewrite.net)?;
    let mut parameters = open_weights(&network, &rewrite.weights)?;
    let done = canon(&network, &mut parameters);
    save(&parameters, &rewrite.output)?;
    if args.json {
        output::json(&done)?;
    } else if !common.quiet {
        output::say(&format!(
            "{} hidden units sorted, {} of them without effect: {} values dropped",
            output::thousands(done.n_units as u64),
            output::thousands(done.n_dead as u64),
            output::thousands(done.n_dropped as u64)
        ));
    }
    Ok(Status::Done)
}
