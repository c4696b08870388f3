//! How accurate the small files of a network are.

mod post_training;
mod trained;

pub use post_training::PostTraining;
pub use trained::Trained;
