//! The state dict of an optimizer: which parameters it has, and the second moments of their gradients.

use super::{
    assemble::Assembler,
    training::{Moment, TrainedParameter},
    value::{Arena, Id, Value},
};
use crate::checkpoint::CheckpointError;
use std::collections::{HashMap, HashSet};

/// Deepest dict or list that is looked at: `checkpoint["optimizer_states"][0]` is the second.
const MAX_DEPTH: usize = 4;

/// Whether a value is the state dict of an optimizer: a dict with `state` and `param_groups`.
pub(super) fn is_state(arena: &Arena<'_>, id: Id) -> bool {
    let has = |key, is_such: &dyn Fn(Id) -> bool| arena.entry(id, key).is_some_and(is_such);
    has("state", &|id| matches!(arena.get(id), Value::Dict(_)))
        && has("param_groups", &|id| arena.items(id).is_some())
}

/// All state dicts of optimizers, each with the keys that lead to it.
pub(super) fn find(arena: &Arena<'_>, root: Id) -> Vec<(String, Id)> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(String::new(), root, 0)];
    while let Some((path, id, depth)) = waiting.pop() {
        if is_state(arena, id) {
            found.push((path, id));
            continue;
        }
        if depth == MAX_DEPTH {
            continue;
        }
        let mut next = |key: String, id: Id| {
            if seen.insert(id) {
                waiting.push((format!("{path}[{key}]"), id, depth + 1));
            }
        };
        for &(key, value) in arena.entries(id).unwrap_or_default() {
            if let Some(key) = arena.str(key) {
                next(format!("{key:?}"), value);
            }
        }
        for (i, &item) in arena.items(id).unwrap_or_default().iter().enumerate() {
            next(i.to_string(), item);
        }
    }
    found.sort();
    found
}

/// The parameters of an optimizer in the order of its groups.
///
/// # Errors
/// [`CheckpointError::Corrupt`] if it is not as PyTorch writes it, and as [`Assembler::push`].
pub(super) fn parameters(
    arena: &Arena<'_>,
    optimizer: Id,
    assembler: &mut Assembler<'_, '_, '_>,
    file: &str,
) -> Result<Vec<TrainedParameter>, CheckpointError> {
    let corrupt = |what: &str| CheckpointError::corrupt(file, format!("the state of its optimizer: {what}"));
    let entries = arena.entry(optimizer, "state").and_then(|id| arena.entries(id));
    let states: HashMap<Key<'_>, Id> = entries
        .unwrap_or_default()
        .iter()
        .filter_map(|&(key, state)| Some((Key::of(arena, key)?, state)))
        .collect();
    let groups = arena
        .entry(optimizer, "param_groups")
        .and_then(|id| arena.items(id));
    let mut parameters = Vec::new();
    let mut seen = HashSet::new();
    for (group, &options) in groups.unwrap_or_default().iter().enumerate() {
        let keys = arena.entry(options, "params").and_then(|id| arena.items(id));
        let keys = keys.ok_or_else(|| corrupt("a group has no list \"params\""))?;
        let names = arena
            .entry(options, "param_names")
            .and_then(|id| arena.items(id))
            .filter(|names| names.len() == keys.len());
        let decay = arena.entry(options, "betas").and_then(|id| arena.items(id));
        let decay = decay.and_then(|betas| betas.get(1).copied());
        for (i, &key) in keys.iter().enumerate() {
            let key = Key::of(arena, key)
                .filter(|key| seen.insert(*key))
                .ok_or_else(|| corrupt("a parameter has no number or name of its own"))?;
            let label = key.to_string();
            let name = match (key, names.and_then(|names| names.get(i))) {
                (Key::Name(name), _) => Some(name.to_owned()),
                (Key::Number(_), Some(&name)) => arena.str(name).map(str::to_owned),
                (Key::Number(_), None) => None,
            };
            let moment = match states.get(&key) {
                Some(&state) => moment(arena, state, decay, &label, assembler)?,
                None => None,
            };
            parameters.push(TrainedParameter {
                label,
                name,
                group,
                moment,
            });
        }
    }
    Ok(parameters)
}

/// How a state dict calls a parameter: by number, or, where it was gathered from several machines, by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'k> {
    Number(i64),
    Name(&'k str),
}

impl<'k> Key<'k> {
    fn of(arena: &'k Arena<'_>, id: Id) -> Option<Self> {
        match arena.get(id) {
            Value::Int(number) => Some(Self::Number(*number)),
            Value::Str(name) => Some(Self::Name(name)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The second moment that a parameter's state holds, `None` if there is none or no step was made.
fn moment(
    arena: &Arena<'_>,
    state: Id,
    decay: Option<Id>,
    label: &str,
    assembler: &mut Assembler<'_, '_, '_>,
) -> Result<Option<Moment>, CheckpointError> {
    let mut number = |id: Option<Id>, what: &str| match id {
        Some(id) => number(arena, id, format!("{label}.{what}"), assembler),
        None => Ok(0.0),
    };
    let steps = number(arena.entry(state, "step"), "step")?.max(0.0).floor();
    let decay = number(decay, "betas")?;
    let kinds = [
        ("exp_avg_sq", 1.0 - decay.powf(steps), steps > 0.0),
        ("square_avg", 1.0, true),
        ("sum", steps, steps > 0.0),
    ];
    for (kind, divisor, is_moved) in kinds {
        if let Some(id) = arena.entry(state, kind).filter(|_| is_moved) {
            return Ok(Some(Moment {
                kind,
                tensor: assembler.push(format!("{label}.{kind}"), id)?,
                steps: steps as u64,
                divisor,
            }));
        }
    }
    Ok(None)
}

/// A number, or a tensor of one element; 0 if it is neither.
fn number(
    arena: &Arena<'_>,
    id: Id,
    name: String,
    assembler: &mut Assembler<'_, '_, '_>,
) -> Result<f64, CheckpointError> {
    Ok(match arena.get(id) {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Tensor(_) => {
            let index = assembler.push(name, id)?;
            let checkpoint = assembler.checkpoint();
            match checkpoint.tensors().get(index) {
                Some(info) if info.n_elements() != Some(1) => 0.0,
                Some(info) if info.dtype.is_float() => {
                    f64::from(checkpoint.to_f32(index)?.first().copied().unwrap_or(0.0))
                }
                _ => {
                    // An integer, little endian.
                    let mut bytes = [0; 8];
                    bytes
                        .iter_mut()
                        .zip(checkpoint.bytes(index)?.iter())
                        .for_each(|(to, from)| *to = *from);
                    i64::from_le_bytes(bytes) as f64
                }
            }
        }
        _ => 0.0,
    })
}
