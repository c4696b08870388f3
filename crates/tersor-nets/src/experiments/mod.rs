//! Whole experiments: from training to files and their accuracy.

mod demo;
mod methods;
mod picture;
mod table1;

pub use demo::{DemoOptions, DemoReport, demo};
pub use methods::{Measured, MethodRow, PAPER_METHODS};
pub use picture::table1_svg;
pub use table1::{Checked, Table1Network, Table1Options, Table1Report, Table1Row, check_table1, table1};
