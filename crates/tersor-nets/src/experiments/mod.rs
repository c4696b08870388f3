//! Whole experiments: from training to files and their accuracy.

mod demo;
mod frontier;
mod methods;
mod picture;
mod record;
mod table1;

pub use demo::{DemoOptions, DemoReport, demo};
pub use frontier::{FrontierFile, FrontierTask, PostTraining, Recipe, Trained, check_frontier, frontier};
pub use methods::{Measured, MethodRow, PAPER_METHODS};
pub use picture::{frontier_svg, table1_svg};
pub use record::{Checked, Origin, Record, Records, Score};
pub use table1::{Table1Network, Table1Options, Table1Report, Table1Row, check_table1, table1};
