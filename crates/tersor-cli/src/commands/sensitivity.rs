//! `tersor sensitivity`.

use crate::Status;
use crate::args::{Common, OptimizerArgs};
use crate::destination::{check_folder, check_not_input};
use crate::files::{check_input, open_checkpoint};
use crate::output::{count, names, say, warn};
use tersor::checkpoint::TrainingCheckpoint;
use tersor::optimizer::sensitivities;

pub(crate) fn run(args: &OptimizerArgs, common: &Common) -> anyhow::Result<Status> {
    check_input(&args.from_optimizer)?;
    check_folder(&args.output)?;
    for input in [Some(&args.from_optimizer), args.model.as_ref()]
        .into_iter()
        .flatten()
    {
        check_not_input(&args.output, input)?;
    }
    if args.output.exists() && !args.force {
        return Err(tersor::Error::Exists(args.output.clone()).into());
    }
    let training = TrainingCheckpoint::open(&args.from_optimizer)?;
    let model = match &args.model {
        Some(path) => Some(open_checkpoint(path)?),
        None => None,
    };
    let found = sensitivities(&training, model.as_ref(), args.sqrt)?;
    let n_tensors = found.tensors.len();
    tersor::write_sensitivities(&args.output, found.tensors, &found.recorded, args.force)?;
    if !common.quiet {
        if !found.left_out.is_empty() {
            let n = count(found.left_out.len(), "parameter");
            warn([format!(
                "{n} left out, never stepped or not in the model: {}",
                names(&found.left_out)
            )]);
        }
        say(&format!(
            "{}: sensitivities of {}",
            args.output.display(),
            count(n_tensors, "tensor")
        ));
    }
    Ok(Status::Done)
}
