//! The verbs, one per file.

pub(crate) mod completions;
pub(crate) mod compress;
pub(crate) mod decompress;
pub(crate) mod demo;
pub(crate) mod inspect;
mod plan;
pub(crate) mod sweep;
pub(crate) mod verify;
