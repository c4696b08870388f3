//! What travels beside the tensors: metadata, and the other files of a folder.

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::decompress::read_blobs;
use serde::Serialize;
use std::collections::BTreeMap;
use tersor_codec::{FileReader, Shard};

/// How what is beside the tensors differs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// How many are the same.
    pub n_same: usize,
    /// What the file lacks.
    pub missing: Vec<String>,
    /// What the original lacks: a checkpoint in another format may have no room for it.
    pub unexpected: Vec<String>,
    /// What both have with different content.
    pub differing: Vec<String>,
}

impl Difference {
    /// Whether the file has all that the original has.
    pub fn has_all(&self) -> bool {
        self.missing.is_empty() && self.differing.is_empty()
    }

    fn of<V: PartialEq>(original: &BTreeMap<String, V>, own: &BTreeMap<String, V>) -> Self {
        let mut found = Self::default();
        for (name, value) in original {
            match own.get(name) {
                None => found.missing.push(name.clone()),
                Some(own) if own == value => found.n_same += 1,
                Some(_) => found.differing.push(name.clone()),
            }
        }
        let unexpected = own.keys().filter(|&name| !original.contains_key(name));
        found.unexpected.extend(unexpected.cloned());
        found
    }
}

/// Names the framework in safetensors: nothing is lost with it, and readers of other formats make it up.
const FRAMEWORK: &str = "format";

/// Compares metadata by its keys. Of several files of weights, the names of the files are part of them.
pub(super) fn metadata(reader: &FileReader<'_>, original: &Checkpoint) -> Difference {
    let (own, theirs) = (&reader.directory().shards, original.shards());
    let by_file = own.len() == theirs.len() && own.len() > 1;
    let pairs = |shards: &[Shard]| -> BTreeMap<String, String> {
        let key = |shard: &Shard, key: &str| {
            if by_file {
                format!("{}: {key}", shard.file_name)
            } else {
                key.to_owned()
            }
        };
        let pairs = shards
            .iter()
            .flat_map(|shard| shard.metadata.iter().map(move |pair| (shard, pair)));
        pairs.map(|(shard, (k, v))| (key(shard, k), v.clone())).collect()
    };
    let mut found = Difference::of(&pairs(theirs), &pairs(own));
    let is_content = |name: &String| name.rsplit(": ").next() != Some(FRAMEWORK);
    found.missing.retain(is_content);
    found.unexpected.retain(is_content);
    found
}

/// Compares the files beside the weights by their paths.
pub(super) fn blobs(reader: &FileReader<'_>, original: &Checkpoint) -> Result<Difference> {
    let own = read_blobs(reader)?;
    let own = own.iter().map(|blob| (blob.path.clone(), blob.bytes.as_slice()));
    let theirs = original.blobs().iter();
    let theirs = theirs.map(|blob| (blob.path.clone(), blob.bytes.as_slice()));
    Ok(Difference::of(&theirs.collect(), &own.collect()))
}
