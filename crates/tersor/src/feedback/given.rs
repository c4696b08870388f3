//! Tensors whose symbols come from outside.

use super::LayerSymbols;
use crate::checkpoint::Checkpoint;
use crate::names::Names;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Symbols given for tensors, by their index.
#[derive(Default)]
pub(crate) struct Given(HashMap<usize, Arc<LayerSymbols>>);

impl Given {
    /// Finds the tensors, with or without a leading `module.`, and checks that the symbols fit.
    ///
    /// # Errors
    /// [`Error::Options`] for a name that is not there, is tied to an earlier one or given twice, and symbols that do not fit.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        symbols: impl IntoIterator<Item = (String, LayerSymbols)>,
    ) -> Result<Self> {
        let tensors = checkpoint.tensors();
        let names = Names::new(tensors.iter());
        let mut given = HashMap::new();
        for (name, symbols) in symbols {
            let refuse = |what: &str| Error::Options(format!("symbols of tensor {name:?}: {what}"));
            let index = names.find(&name);
            let index = index.ok_or_else(|| refuse("the checkpoint has no such tensor"))?;
            if checkpoint.alias_of(index).is_some() {
                return Err(refuse(
                    "it is tied to an earlier tensor; give the symbols for that",
                ));
            }
            if let Some(info) = tensors.get(index) {
                symbols.check(info)?;
            }
            if given.insert(index, Arc::new(symbols)).is_some() {
                return Err(refuse("they are given twice"));
            }
        }
        Ok(Self(given))
    }

    /// The symbols of a tensor.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<LayerSymbols>> {
        self.0.get(&index)
    }

    /// Whether a tensor has symbols.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.0.contains_key(&index)
    }

    /// All, by ascending index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Arc<LayerSymbols>)> {
        let mut indices: Vec<usize> = self.0.keys().copied().collect();
        indices.sort_unstable();
        indices
            .into_iter()
            .filter_map(|index| Some((index, self.get(index)?)))
    }
}
