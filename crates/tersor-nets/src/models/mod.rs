//! The networks that the program knows, each built by one function.

mod alexnet;
mod lenet;
mod llama;
mod resnet;
mod squeezenet;

pub use alexnet::{alexnet, narrow_alexnet};
pub use lenet::lenet5;
pub use llama::{LlamaConfig, llama};
pub use resnet::resnet;
pub use squeezenet::squeezenet1_1;

use crate::graph::Network;
use crate::{Error, Result};

/// Names of the image networks.
pub const IMAGE_NETWORKS: [&str; 7] = [
    "lenet5",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "alexnet",
    "squeezenet1_1",
];

/// The image network of this name.
///
/// # Errors
/// [`Error::Input`] with the names that exist.
pub fn image_network(name: &str) -> Result<Network> {
    Ok(match name {
        "lenet5" => lenet5(),
        "resnet20" => resnet(20),
        "resnet32" => resnet(32),
        "resnet44" => resnet(44),
        "resnet56" => resnet(56),
        "alexnet" => alexnet(),
        "squeezenet1_1" => squeezenet1_1(),
        _ => {
            let names = IMAGE_NETWORKS.join(", ");
            return Err(Error::Input(format!(
                "no network {name:?}; there are {names}, and llama with a config.json"
            )));
        }
    })
}
