//! `tersor net reproduce ingredients`.

use crate::args::Common;
use crate::args::net::ReproduceArgs;
use crate::commands::net::Task;
use crate::progress::Bar;
use crate::{Status, output};
use anyhow::ensure;
use tersor_nets::experiments::{Ingredients, Trained, make_files};
use tersor_nets::task::network;

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> anyhow::Result<Status> {
    ensure!(
        !super::has_recipe(args),
        "--trained, --no-data, --beside, --seeds and --epochs are not for ingredients, which are of one recipe"
    );
    let task = Task::open(&args.task, Trained::augment(&network(&args.task.net)?))?;
    let bar = Bar::new(common.quiet);
    if args.check {
        let original = super::given_weights(args, &task.network)?;
        return super::check(&task, args, original.as_ref(), bar);
    }
    let work = super::experiment(&task, args, &bar);
    let weights = super::weights(args, work.network, "ingredients")?;
    let recipe = Ingredients::new(&work, weights, &args.sizes)?;
    super::make_folder(&args.output)?;
    let records = make_files(&work, &recipe, &mut |line| bar.println(line))?;
    drop(bar);
    if args.json {
        output::json(&records)?;
    } else {
        output::out(&super::describe_files(&records.records))?;
    }
    Ok(Status::Done)
}
