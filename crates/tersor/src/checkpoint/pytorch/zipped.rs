//! The zip format of PyTorch 1.6 and later: `data.pkl`, and a member for each storage.

use super::{
    assemble::{FindStorage, Origin},
    pickle::{self, Pickle},
    tensor::StorageRef,
};
use crate::checkpoint::{
    CheckpointError, ReadLimits, Storage,
    archive::{Archive, Entry},
};
use std::{borrow::Cow, collections::HashMap};

const PICKLE_NAME: &str = "data.pkl";

/// The folder of a member at the top of the archive, with its '/'.
fn prefix_of<'n>(name: &'n str, member: &str) -> Option<&'n str> {
    let prefix = name.strip_suffix(member)?;
    (prefix.is_empty() || (prefix.ends_with('/') && prefix.matches('/').count() == 1)).then_some(prefix)
}

/// Whether a member is the pickle of a PyTorch archive.
pub(crate) fn is_pickle_name(name: &str) -> bool {
    prefix_of(name, PICKLE_NAME).is_some()
}

/// Whether a member is what only `TorchScript` has.
pub(crate) fn is_script_name(name: &str) -> bool {
    prefix_of(name, "constants.pkl").is_some() || name.split('/').nth(1) == Some("code")
}

/// Reads an archive, and gives what `take` makes of its pickle. Storages stay where they are unless someone has compressed them.
pub(super) fn read_zip<T>(
    archive: &Archive,
    entries: &[Entry],
    file: &str,
    limits: &ReadLimits,
    take: impl FnOnce(&Pickle<'_>, &Origin<'_>, &mut FindStorage<'_>) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    if entries.iter().any(|entry| is_script_name(&entry.name)) {
        return Err(CheckpointError::unsupported(file, script_advice(file)));
    }
    let mut budget = limits.budget(archive.file_bytes().len());
    let mut content = |entry: &Entry| {
        if let Some(range) = &entry.stored {
            return Ok(Cow::Borrowed(
                archive.file_bytes().get(range.clone()).unwrap_or_default(),
            ));
        }
        budget.take(entry.size, file, || format!("member {:?}", entry.name))?;
        archive.inflate(entry.index, file).map(Cow::Owned)
    };
    let prefix = entries
        .iter()
        .find_map(|entry| prefix_of(&entry.name, PICKLE_NAME))
        .unwrap_or_default();
    let members: HashMap<&str, &Entry> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_prefix(prefix)?, entry)))
        .collect();
    if let Some(entry) = members.get("byteorder") {
        let order = content(entry)?;
        if order.as_ref() != b"little" {
            let order =
                String::from_utf8_lossy(order.get(..order.len().min(32)).unwrap_or_default()).into_owned();
            let what = format!("its byte order is {order:?}; save it on a little-endian machine");
            return Err(CheckpointError::unsupported(file, what));
        }
    }
    let Some(entry) = members.get(PICKLE_NAME) else {
        return Err(CheckpointError::corrupt(file, "it has no data.pkl"));
    };
    let text = content(entry)?;
    let pickle = pickle::load(&text).map_err(|flaw| flaw.in_file(file))?;
    let mut find = |stored: &StorageRef<'_>| {
        let name = format!("data/{}", stored.key);
        let Some(entry) = members.get(name.as_str()) else {
            return Err(CheckpointError::corrupt(
                file,
                format!("the member {name:?}, a storage, is missing"),
            ));
        };
        let storage = match &entry.stored {
            Some(range) => Storage::Part {
                bytes: archive.shared_bytes(),
                range: range.clone(),
            },
            None => Storage::Owned(content(entry)?.into_owned()),
        };
        Ok((storage, entry.size))
    };
    let origin = Origin {
        file,
        file_bytes: archive.file_bytes().len(),
        limits,
    };
    take(&pickle, &origin, &mut find)
}

fn script_advice(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let out = format!("{stem}.safetensors");
    format!(
        "it is TorchScript, a program and not only weights; if it is trusted, convert it with \
         `safetensors.torch.save_file({{k: v.clone() for k, v in torch.jit.load({name:?}).state_dict().items()}}, {out:?})`"
    )
}
