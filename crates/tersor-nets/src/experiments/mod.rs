//! Whole experiments: from training to files and their accuracy.

mod beside;
mod comparison;
mod convergence;
mod demo;
mod estimates;
mod files;
mod frontier;
mod methods;
mod picture;
mod pruned;
mod record;
mod speed;
mod split;
mod table1;

use crate::train::{Optimizer, Schedule, TrainOptions};

pub use beside::{Saving, SizeAtLoss, savings, sizes_at_losses};
pub use comparison::{Comparison, Correlation, Expansion, Measure, Panel, Question};
pub use convergence::{ConvergenceReport, EcsqRun, KMeansRun, Timing, convergence};
pub use demo::{DemoOptions, DemoReport, demo};
pub use files::{ExperimentTask, FileSpec, Recipe, check_files, make_files};
pub use frontier::{Ingredients, NoData, PostTraining, Trained};
pub use methods::{Measured, MethodRow, PAPER_METHODS};
pub use picture::{convergence_svg, frontier_svg, panel_svg, table1_svg};
pub use record::{Checked, Origin, Record, Records, Score};
pub use speed::Speed;
pub use table1::{Table1Network, Table1Options, Table1Report, Table1Row, check_table1, table1};

/// How the experiments train: Adam, whose rate rises over the first tenth and falls as half a cosine.
fn adam(epochs: usize, peak: f64, seed: u64) -> TrainOptions {
    TrainOptions {
        epochs,
        batch: 128,
        seed,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Cosine {
            peak,
            warmup: 0.1,
            floor: 0.01,
        },
        batch_statistics: 1.0,
    }
}
