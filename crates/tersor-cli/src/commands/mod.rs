//! The verbs, one per file.

pub(crate) mod completions;
pub(crate) mod compress;
pub(crate) mod decompress;
#[cfg(feature = "nets")]
pub(crate) mod demo;
pub(crate) mod inspect;
#[cfg(feature = "nets")]
pub(crate) mod net;
mod plan;
pub(crate) mod sensitivity;
pub(crate) mod sweep;
pub(crate) mod verify;
