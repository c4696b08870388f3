//! Names of tensors that differ by what a wrapper puts before them.

use std::collections::HashMap;
use tersor_codec::TensorInfo;

/// What PyTorch's parallel wrappers put before every name.
const WRAPPER: &str = "module.";

/// A name without the wrapper's prefix.
pub fn bare(name: &str) -> &str {
    name.strip_prefix(WRAPPER).unwrap_or(name)
}

/// Finds tensors by their names, or, where there is none, by their names without the wrapper's prefix.
pub(crate) struct Names<'t> {
    exact: HashMap<&'t str, usize>,
    bare: HashMap<&'t str, usize>,
}

impl<'t> Names<'t> {
    pub(crate) fn new(tensors: impl Iterator<Item = &'t TensorInfo>) -> Self {
        let (mut exact, mut by_bare) = (HashMap::new(), HashMap::new());
        for (index, info) in tensors.enumerate() {
            exact.insert(info.name.as_str(), index);
            by_bare.entry(bare(&info.name)).or_insert(index);
        }
        Self { exact, bare: by_bare }
    }

    /// The tensor of this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.exact
            .get(name)
            .or_else(|| self.bare.get(bare(name)))
            .copied()
    }
}
