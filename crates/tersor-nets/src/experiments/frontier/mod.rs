//! How accurate the small files of a network are.

mod ingredients;
mod no_data;
mod post_training;
mod sizes;
mod trained;

pub use ingredients::Ingredients;
pub use no_data::NoData;
pub use post_training::PostTraining;
pub use trained::Trained;
